import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from receiver.jitter_buffer import JitterBuffer
from shared.keypoints import Floats


def frames(*values: float) -> Floats:
    return np.array(values, np.float32)[:, None].repeat(60, axis=1)


def values(taken: dict[int, Floats]) -> dict[int, float]:
    return {n: float(frame[0]) for n, frame in taken.items()}


def test_frames_come_out_by_number_whatever_order_they_came_in() -> None:
    buffer = JitterBuffer()
    buffer.put(3, frames(3, 4, 5))
    buffer.put(0, frames(0, 1, 2))
    assert values(buffer.take(1)) == {0: 0, 1: 1}
    assert values(buffer.take(4)) == {2: 2, 3: 3, 4: 4}
    assert values(buffer.take(9)) == {5: 5}
    assert (buffer.tally.late_frames, buffer.tally.refused_frames) == (0, 0)


def test_the_next_frame_that_is_here_can_be_seen_before_its_moment() -> None:
    buffer = JitterBuffer()
    assert buffer.following(0) is None
    buffer.put(5, frames(5, 6))
    buffer.put_copies({3: frames(3)[0]})
    buffer.take(0)
    ahead = [buffer.following(n) for n in (0, 3, 4, 5)]
    assert [(a[0], float(a[1][0])) for a in ahead if a is not None] == [(3, 3), (5, 5), (5, 5), (6, 6)]
    assert buffer.following(6) is None
    assert values(buffer.take(6)) == {3: 3, 5: 5, 6: 6}


def test_a_frame_after_its_moment_is_counted_and_still_given_out() -> None:
    buffer = JitterBuffer()
    buffer.put(0, frames(0))
    buffer.take(2)
    buffer.put(1, frames(1, 2, 3))
    assert buffer.tally.late_frames == 2
    assert values(buffer.take(3)) == {1: 1, 2: 2, 3: 3}


def test_a_duplicate_is_given_out_once_and_is_not_late() -> None:
    buffer = JitterBuffer()
    buffer.put(0, frames(0, 1))
    buffer.put(0, frames(9, 9))
    assert values(buffer.take(0)) == {0: 0}
    buffer.put(0, frames(9, 9))
    assert values(buffer.take(1)) == {1: 1}
    assert buffer.tally.late_frames == 0


def test_frames_too_far_off_are_refused() -> None:
    buffer = JitterBuffer(capacity=10)
    buffer.put(100, frames(0))
    buffer.put(110, frames(1))
    buffer.put(90, frames(2))
    assert buffer.tally.refused_frames == 2
    buffer.take(105)
    buffer.put(115, frames(3, 4))
    buffer.put(96, frames(5, 6))
    assert values(buffer.take(200)) == {97: 6, 115: 3}
    assert buffer.tally.refused_frames == 4


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 4), st.booleans()), max_size=60))
def test_memory_is_bounded_and_nothing_comes_out_twice(steps: list[tuple[int, int, bool]]) -> None:
    buffer, given_out, due = JitterBuffer(capacity=20), [], -1
    for first, count, take in steps:
        buffer.put(first, frames(*range(first, first + count)))
        assert len(buffer._frames) <= 2 * 20 * 2
        if take:
            due = max(due, first)
            taken = buffer.take(due)
            assert all(n == frame[0] and n <= due for n, frame in taken.items())
            given_out += list(taken)
    assert len(set(given_out)) == len(given_out)


def test_a_copy_stands_in_until_the_frame_itself_comes() -> None:
    buffer = JitterBuffer()
    buffer.put(0, frames(0, 1))
    buffer.put_copies({1: frames(9)[0], 2: frames(9)[0], 3: frames(8)[0]})
    buffer.put(2, frames(2))
    assert values(buffer.take(5)) == {0: 0, 1: 1, 2: 2, 3: 8}
    assert buffer.tally.copied_frames == 2
    # What has been given out stays as it was.
    buffer.put(3, frames(3))
    buffer.put_copies({3: frames(7)[0]})
    assert buffer.take(6) == {}


def test_a_copy_of_a_frame_whose_moment_has_passed_is_still_given_out() -> None:
    buffer = JitterBuffer()
    buffer.put(0, frames(0))
    buffer.take(4)
    buffer.put_copies({2: frames(2)[0], 900: frames(1)[0]})
    assert values(buffer.take(5)) == {2: 2}


def test_what_is_here_is_a_frame_itself_until_it_is_taken() -> None:
    buffer = JitterBuffer()
    buffer.put(0, frames(0, 1))
    buffer.put_copies({2: frames(2)[0]})
    assert [number in buffer for number in range(4)] == [True, True, False, False]
    buffer.put(2, frames(2))
    assert 2 in buffer
    buffer.take(1)
    assert [number in buffer for number in range(4)] == [False, False, True, False]
