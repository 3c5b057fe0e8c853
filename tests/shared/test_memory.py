"""Threads share the memory they have done with."""

import os
import platform
import subprocess
import sys

import pytest

from shared.runtime.memory import MAX_ARENAS

# Each thread has memory of its own while all others have theirs.
PROGRAM = """
import ctypes, sys, threading
from shared.runtime.memory import limit_arenas
if sys.argv[1] == "limited":
    limit_arenas()
all_have, kept = threading.Barrier(9), []
def work():
    kept.append([bytes(1000) for _ in range(100)])
    all_have.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
all_have.wait()
ctypes.CDLL(None).malloc_stats()
"""


def arenas(how: str, **more: str) -> int:
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how],
        env=environment | more,
        capture_output=True,
        check=True,
        text=True,
    )
    return sum(line.startswith("Arena ") for line in done.stderr.splitlines())


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has arenas to limit")
def test_threads_share_few_arenas_unless_the_user_says_how_many() -> None:
    assert arenas("as it is") > 4
    assert arenas("limited") <= MAX_ARENAS
    assert arenas("limited", MALLOC_ARENA_MAX="6") > MAX_ARENAS
