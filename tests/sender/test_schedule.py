from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.forecast.baselines import Hold
from models.lite.layout import LAYOUT
from sender.schedule import Adaptive, Alternate, Batch, Redundancy
from shared.codec.keypoint_codec import MAX_BACK
from shared.concealment import Concealer
from shared.constants import Schedule
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


def adaptive(threshold: float = 0.5, per_message: int = 3, longest: int = 30) -> Adaptive:
    """The receiver holds the last frame; an error of 1 in all numbers is one of 1 in the picture."""
    return Adaptive(
        Concealer(Hold(), LAYOUT), np.eye(60, dtype=np.float32) / 60, threshold, per_message, longest
    )


def drive(scheduler: Adaptive, values: Sequence[float], arrives: bool = True) -> list[list[int]]:
    """Show frames of these values from number 0 on; return the numbers in each message."""
    sent = []
    for number, value in enumerate(values):
        for batch in scheduler.add(number, 0, np.full(60, value, np.float32)):
            numbers = list(range(batch.first, batch.first + len(batch.frames)))
            assert [float(frame[0]) for frame in batch.frames] == [np.float32(values[n]) for n in numbers]
            sent.append(numbers)
            if arrives:
                scheduler.shipped(batch, batch.frames)
    return sent


def test_a_still_face_ships_once_and_then_once_a_second() -> None:
    assert drive(adaptive(), [1.0] * 100) == [[0, 1, 2], [30, 31, 32], [60, 61, 62], [90, 91, 92]]


def test_what_moves_ships_before_the_first_wrong_frame_is_due() -> None:
    values = [0.0] * 10 + [0.4] * 10 + [1.0] * 10
    # 0.4 off is within the threshold; at frame 20 the receiver would be 1 off.
    assert drive(adaptive(), values) == [[0, 1, 2], [20, 21, 22]]


def test_a_lively_face_ships_every_frame() -> None:
    sent = drive(adaptive(), list(range(30)))
    assert sent == [[n, n + 1, n + 2] for n in range(0, 30, 3)]


def test_a_message_that_could_not_leave_is_offered_again_with_newer_frames() -> None:
    values = [0.0] * 3 + [1.0] * 4
    scheduler = adaptive()
    assert drive(scheduler, values, arrives=False) == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [4, 5, 6]]


def test_drift_is_measured_from_what_the_receiver_has_not_from_what_was_seen() -> None:
    scheduler = adaptive()
    (batch,) = [b for n in range(3) for b in scheduler.add(n, 0, np.zeros(60, np.float32))]
    # The codec made something else of it: the receiver holds that.
    scheduler.shipped(batch, batch.frames + 2)
    sent = [b.first for n in range(3, 8) for b in scheduler.add(n, 0, np.zeros(60, np.float32))]
    assert sent[0] == 3


def test_the_sensitivity_decides_what_counts() -> None:
    blind = np.zeros((60, 60), np.float32)
    blind[0, 0] = 1.0
    scheduler = Adaptive(Concealer(Hold(), LAYOUT), blind, 0.5, 3)
    values = np.zeros((12, 60), np.float32)
    values[6:, 1] = 9.0
    sent = []
    for number, value in enumerate(values):
        for batch in scheduler.add(number, 0, value):
            sent.append(batch.first)
            scheduler.shipped(batch, batch.frames)
    assert sent == [0]


def test_a_gap_of_the_camera_does_not_end_up_in_a_message() -> None:
    scheduler = adaptive()
    sent = [b for n in (0, 1, 7, 8, 9) for b in scheduler.add(n, 0, np.full(60, n, np.float32))]
    assert [(b.first, len(b.frames)) for b in sent] == [(7, 3)]


def test_at_the_end_only_what_drifts_is_flushed() -> None:
    scheduler = adaptive()
    drive(scheduler, [0.0] * 4)
    assert scheduler.flush() == []
    scheduler.add(4, 0, np.full(60, 3.0, np.float32))
    (batch,) = scheduler.flush()
    assert (batch.first, len(batch.frames)) == (3, 2)


def test_copies_are_of_the_messages_before() -> None:
    redundancy = Redundancy(2)
    assert redundancy.copies(0) == []
    for first in (0, 12, 24):
        redundancy.sent(Batch(first, 0, np.stack([frame(first + index) for index in range(6)])))
    copies = redundancy.copies(36)
    assert [copy.back for copy in copies] == [7, 10, 12, 19, 22, 24]
    assert [float(copy.frame[0]) for copy in copies] == [36 - copy.back for copy in copies]
    assert Redundancy(0).copies(36) == []


def test_copies_from_too_long_ago_are_left_out() -> None:
    redundancy = Redundancy(1)
    redundancy.sent(Batch(0, 0, np.stack([frame(0)])))
    assert redundancy.copies(MAX_BACK)[0].back == MAX_BACK
    assert redundancy.copies(MAX_BACK + 1) == []
