import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sender.schedule import Alternate, Batch
from shared.config import Schedule
from shared.keypoints import Floats


def frame(number: int) -> Floats:
    return np.full(60, number, np.float32)


def send(scheduler: Alternate, numbers: list[int]) -> list[list[int]]:
    """Return the frame numbers of each message, checked against what is in it."""
    return [numbers_of(batch) for n in numbers for batch in scheduler.add(n, n % 256, frame(n))]


def numbers_of(batch: Batch) -> list[int]:
    assert batch.late_ms == batch.first % 256
    numbers = [int(value) for value in batch.frames[:, 0]]
    assert numbers == list(range(batch.first, batch.first + len(numbers)))
    return numbers


def test_a_message_leaves_when_it_is_full() -> None:
    assert send(Alternate(Schedule(6, 6), 3), [0, 1, 2, 3, 4, 5, 12]) == [[0, 1, 2], [3, 4, 5]]


def test_no_frame_waits_through_a_skipped_block() -> None:
    assert send(Alternate(Schedule(5, 7), 3), [0, 1, 2, 3, 4]) == [[0, 1, 2], [3, 4]]


def test_messages_run_on_where_nothing_is_skipped() -> None:
    assert send(Alternate(Schedule(6, 0), 4), list(range(12))) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_a_gap_starts_a_new_message() -> None:
    assert send(Alternate(Schedule(6, 6), 3), [0, 2, 3, 5]) == [[0], [2, 3], [5]]


def test_flush_returns_what_is_left_once() -> None:
    scheduler = Alternate(Schedule(6, 6), 4)
    send(scheduler, [0, 1])
    (batch,) = scheduler.flush()
    assert numbers_of(batch) == [0, 1]
    assert scheduler.flush() == []


@given(st.integers(1, 8), st.integers(0, 8), st.integers(1, 5), st.sets(st.integers(0, 120)))
def test_every_frame_leaves_once_in_order(observe: int, skip: int, per_message: int, lost: set[int]) -> None:
    schedule = Schedule(observe, skip)
    numbers = [n for n in range(120) if schedule.ships(n) and n not in lost]
    scheduler = Alternate(schedule, per_message)
    sent = send(scheduler, numbers) + [numbers_of(batch) for batch in scheduler.flush()]
    assert [n for message in sent for n in message] == numbers
    assert all(len(message) <= per_message for message in sent)
    assert all(schedule.ships(n) for message in sent for n in range(message[0], message[-1] + 1))
