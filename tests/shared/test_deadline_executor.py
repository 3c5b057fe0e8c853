"""One thread for several kinds of work, in the order of deadlines."""

import threading
import time
from concurrent.futures import CancelledError

import pytest

from shared.runtime.deadline_executor import DeadlineExecutor


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def blocked(executor: DeadlineExecutor) -> threading.Event:
    """Keep the executor busy until the event is set, so that what follows has to wait."""
    began, release = threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        release.wait(20)

    executor.lane(0.0).submit(work)
    assert began.wait(20)
    return release


def test_what_has_to_be_done_sooner_is_done_first() -> None:
    clock, done = Clock(), list[str]()
    with DeadlineExecutor("test", clock) as executor:
        release = blocked(executor)
        executor.lane(0.04).submit(done.append, "detect")
        executor.lane(0.01).submit(done.append, "render")
        release.set()
    assert done == ["render", "detect"]


def test_nothing_waits_for_ever_however_much_is_given_with_a_shorter_allowance() -> None:
    clock, done = Clock(), list[str]()
    with DeadlineExecutor("test", clock) as executor:
        release = blocked(executor)
        executor.lane(0.04).submit(done.append, "detect")
        for n in range(10):
            clock.now = 0.01 * n
            executor.lane(0.01).submit(done.append, f"render {n}")
        release.set()
    # Given at 0.03 s and later, a frame's deadline is no sooner.
    assert done.index("detect") == 3


def test_of_equal_deadlines_the_first_given_is_first() -> None:
    done = list[int]()
    with DeadlineExecutor("test", Clock()) as executor:
        release = blocked(executor)
        for n in range(20):
            executor.lane(0.01).submit(done.append, n)
        release.set()
    assert done == list(range(20))


def test_results_and_errors_come_back() -> None:
    with DeadlineExecutor("test") as executor:
        lane = executor.lane(0.01)
        assert lane.submit(pow, 2, 5).result(20) == 32
        failing = lane.submit(int, "three")
        with pytest.raises(ValueError, match="three"):
            failing.result(20)
        assert lane.submit(threading.current_thread).result(20).name == "test"


def test_what_is_cancelled_in_time_is_not_done() -> None:
    done = list[int]()
    with DeadlineExecutor("test") as executor:
        release = blocked(executor)
        future = executor.lane(0.01).submit(done.append, 1)
        assert future.cancel()
        release.set()
    with pytest.raises(CancelledError):
        future.result(0)
    assert done == []


def test_the_end_waits_for_what_was_given_and_takes_no_more() -> None:
    done = list[int]()
    with DeadlineExecutor("test") as executor:
        lane = executor.lane(0.01)
        lane.submit(time.sleep, 0.05)
        lane.submit(done.append, 1)
    assert done == [1]
    with pytest.raises(RuntimeError):
        lane.submit(done.append, 2)
