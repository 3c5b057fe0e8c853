import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.playout import Playout


def started(first: int = 0, now: float = 10.0, delay: float = 0.05) -> Playout:
    playout = Playout(30, delay)
    playout.arrived(first, now)
    return playout


def test_nothing_is_due_before_the_first_packet() -> None:
    playout = Playout(30)
    assert not playout.started
    with pytest.raises(RuntimeError):
        playout.due(0)
    with pytest.raises(RuntimeError):
        playout.current(0.0)


def test_deadlines_are_absolute_and_start_a_delay_after_the_first_packet() -> None:
    playout = started(first=12)
    assert playout.due(12) == pytest.approx(10.05)
    assert playout.due(12 + 30 * 3600) == pytest.approx(10.05 + 3600)


@given(st.integers(0, 10**6), st.floats(0, 1e6), st.integers(0, 10**5))
def test_the_current_frame_is_the_last_one_due(first: int, now: float, ahead: int) -> None:
    playout = started(first, now)
    number = first + ahead
    assert playout.current(playout.due(number)) == number
    assert playout.current(playout.due(number) - 0.5 / 30) == number - 1


def test_jitter_within_the_delay_moves_nothing() -> None:
    playout = started()
    for n in range(1, 100):
        playout.arrived(6 * n, 10.0 + 6 * n / 30 + (0.049 if n % 2 else 0.0))
    assert playout.due(0) == pytest.approx(10.05)


def test_late_packets_move_the_timeline_back() -> None:
    playout = started()
    for n in range(1, 10):
        playout.arrived(n, 10.0 + n / 30 + 0.3)
    assert playout.due(0) == pytest.approx(10.05)
    playout.arrived(10, 10.0 + 10 / 30 + 0.3)
    assert playout.due(0) == pytest.approx(10.35)


def test_it_is_enough_that_every_other_packet_is_late() -> None:
    playout = started()
    for n in range(1, 100):
        playout.arrived(n, 10.0 + n / 30 + (0.3 if n % 2 else 0.0))
    assert playout.due(0) == pytest.approx(10.35)


def test_now_and_then_a_late_packet_moves_nothing() -> None:
    playout = started()
    for n in range(1, 100):
        playout.arrived(n, 10.0 + n / 30 + (0.3 if n % 3 == 0 else 0.0))
    assert playout.due(0) == pytest.approx(10.05)


def test_one_stray_among_late_packets_does_not_stop_the_picture() -> None:
    playout = started(first=1000)
    for n in range(9):
        playout.arrived(1000 + n, 10.0 + n / 30 + 0.3)
    playout.arrived(0, 10.3)  # 33 s late: a duplicate from long ago
    assert playout.due(1000) == pytest.approx(10.35)


def test_a_slow_first_packet_does_not_delay_the_whole_call() -> None:
    playout = started(now=10.4)
    for n in range(1, 11):
        playout.arrived(n, 10.0 + n / 30 + (0.05 if n == 5 else 0.0))
    # By the latest of the ten, so that none of them would have been late.
    assert playout.due(0) == pytest.approx(10.1)


def test_a_jump_of_the_sender_is_followed() -> None:
    playout = started()
    for n in range(10):
        playout.arrived(5000 + n, 11.0 + n / 30)
    assert playout.due(5000) == pytest.approx(11.05)
