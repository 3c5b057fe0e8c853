import subprocess
import sys
import time

import numpy as np
import pytest

from shared.runtime.usage import Usage, peak_memory_mb, seconds_since_start


def test_a_busy_second_is_a_whole_one_and_an_idle_one_nearly_none() -> None:
    def used(work: bool) -> float:
        usage = Usage()
        usage.begin()
        end = time.process_time() + 0.1
        while work and time.process_time() < end:
            pass
        if not work:
            time.sleep(0.1)
        usage.end()
        return usage.cpu

    assert used(work=False) < 0.5 < used(work=True) * 10
    assert Usage().cpu == 0.0


def test_a_call_that_never_began_used_nothing() -> None:
    usage = Usage()
    usage.end()
    assert (usage.cpu, usage.first_frame_s, usage.start_s) == (0.0, None, None)


def test_the_first_frame_counts() -> None:
    usage = Usage()
    time.sleep(0.02)
    usage.first()
    first = usage.first_frame_s
    assert first is not None
    assert 0.02 <= first < 5
    time.sleep(0.02)
    usage.first()
    assert usage.first_frame_s == first
    assert usage.start_s is not None
    assert first <= usage.start_s <= seconds_since_start()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not tell")
def test_a_process_knows_its_age_and_not_its_parents_memory() -> None:
    ballast = np.ones(40_000_000)  # 320 MB
    code = (
        "import time; time.sleep(0.3)\n"
        "from shared.runtime.usage import peak_memory_mb, seconds_since_start\n"
        "print(seconds_since_start(), peak_memory_mb())"
    )
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    took = time.monotonic() - start
    age, memory = map(float, done.stdout.split())
    assert 0.28 < age < took + 0.05
    assert 5 < memory < 200
    mine = peak_memory_mb()
    assert mine is not None
    assert mine > ballast.nbytes / 1e6
