"""The timeline in virtual time: it follows jitter and clocks without anyone seeing it, and never runs off."""

import random
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.playout import MAX_DELAY_SECONDS, SLEW, Playout

FRAME = 1 / 30
Transit = Callable[[float], float | None]


def started(first: int = 0, now: float = 10.0, delay: float = 0.05) -> Playout:
    playout = Playout(30, delay)
    playout.arrived(first, now)
    return playout


class Watched:
    """A receiver's loop: `numbers` it showed, and when; frames are shown by an absolute timeline."""

    def __init__(self, playout: Playout) -> None:
        self.playout = playout
        self.numbers: list[int] = []
        self.times: list[float] = []
        self.late = 0

    def run(self, packets: Iterator[tuple[float, int]], until: float) -> "Watched":
        """Take `packets` (arrival, first frame) in order of arrival and show frames until `until`."""
        waiting = next(packets, None)
        while True:
            due = self._due()
            if waiting is not None and (due is None or waiting[0] <= due):
                now, first = waiting
                self.playout.arrived(first, now)
                self.late += bool(self.numbers) and first <= self.numbers[-1]
                waiting = next(packets, None)
            elif due is None or due > until:
                return self
            else:
                self._show(due)

    def _due(self) -> float | None:
        if not self.playout.started:
            return None
        return self.playout.due(self.numbers[-1] + 1 if self.numbers else 0)

    def _show(self, now: float) -> None:
        current = self.playout.current(now)
        self.numbers.append(max(current, self.numbers[-1] + 1) if self.numbers else current)
        self.times.append(now)
        self.playout.advance(now)

    @property
    def gaps(self) -> list[float]:
        return [b - a for a, b in pairwise(self.times)]

    @property
    def skipped(self) -> int:
        return sum(b - a - 1 for a, b in pairwise(self.numbers))


def packets(
    seconds: float, transit: Transit, per_message: int = 3, rate: float = 1.0
) -> Iterator[tuple[float, int]]:
    """Messages of a call: each begins with frame n, leaves when its last is captured and takes `transit`.

    The sender's clock runs at `rate` of the receiver's. None: lost.
    """
    sent = []
    for first in range(0, round(seconds * 30), per_message):
        leaves = 100.0 + (first + per_message - 1) * FRAME / rate
        took = transit(leaves - 100.0)
        if took is not None:
            sent.append((leaves + took, first))
    return iter(sorted(sent))


def test_nothing_is_due_before_the_first_packet() -> None:
    playout = Playout(30)
    assert not playout.started
    playout.advance(1.0)
    assert playout.delay == 0
    with pytest.raises(RuntimeError):
        playout.due(0)
    with pytest.raises(RuntimeError):
        playout.current(0.0)


def test_the_timeline_starts_a_delay_after_the_first_packet() -> None:
    playout = started(first=12)
    assert playout.due(12) == pytest.approx(10.05)
    assert playout.due(12 + 30 * 3600) == pytest.approx(10.05 + 3600)
    assert playout.delay == pytest.approx(0.05)


@given(st.integers(0, 10**6), st.floats(0, 1e6), st.integers(0, 10**5))
def test_the_current_frame_is_the_last_one_due(first: int, now: float, ahead: int) -> None:
    playout = started(first, now)
    number = first + ahead
    assert playout.current(playout.due(number)) == number
    assert playout.current(playout.due(number) - 0.5 / 30) == number - 1


def test_a_good_network_moves_nothing() -> None:
    chance = random.Random(1)
    seen = Watched(Playout(30)).run(packets(60, lambda _: 0.02 + chance.uniform(0, 0.003)), 160.0)
    assert (seen.skipped, seen.late, seen.playout.jumps) == (0, 0, 0)
    assert max(seen.gaps) == pytest.approx(FRAME, rel=0.02)
    assert seen.playout.delay == pytest.approx(0.05, abs=0.003)


def test_the_delay_follows_jitter_up_and_down_and_nobody_sees_it() -> None:
    chance = random.Random(2)

    def transit(at: float) -> float:
        return 0.02 + chance.uniform(0, 0.2 if 20 <= at < 60 else 0.0)

    playout = Playout(30)
    seen = Watched(playout)
    source = packets(120, transit)
    seen.run(_until(source, 120.0), 119.0)
    assert playout.delay == pytest.approx(0.05, abs=0.005)
    seen.run(_until(source, 160.0), 159.0)
    assert 0.15 < playout.delay < 0.22
    late = seen.late
    seen.run(source, 215.0)
    assert playout.delay == pytest.approx(0.05, abs=0.01)
    # Of 400 messages in 40 s of jitter one in twenty and those of the first seconds may be late.
    assert 0 < late < 60
    _assert_smooth(seen)


def test_what_drawing_takes_is_waited_for_beyond_the_jitter_and_no_longer_than_it_takes() -> None:
    chance = random.Random(4)
    playout = Playout(30)
    seen, source = Watched(playout), packets(90, lambda _: 0.02 + chance.uniform(0, 0.05))
    delays = []
    for seconds, until in ((0.01, 129.0), (0.1, 159.0), (0.01, 188.0)):
        playout.processing(seconds)
        seen.run(_until(source, until + 1), until)
        delays.append(playout.delay)
    assert delays == pytest.approx([0.057, 0.145, 0.057], abs=0.01)
    _assert_smooth(seen)


def _until(source: Iterator[tuple[float, int]], moment: float) -> Iterator[tuple[float, int]]:
    for packet in source:
        yield packet
        if packet[0] >= moment:
            return


def _assert_smooth(seen: Watched) -> None:
    assert (seen.skipped, seen.playout.jumps) == (0, 0)
    assert seen.numbers == list(range(seen.numbers[0], seen.numbers[-1] + 1))
    assert max(abs(gap - FRAME) for gap in seen.gaps) <= SLEW * max(seen.gaps) + 1e-6
    assert max(seen.gaps) <= FRAME / (1 - SLEW) + 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("ppm", [-200, 200])
def test_an_hour_of_clocks_that_run_apart_neither_skips_nor_grows(ppm: int) -> None:
    chance = random.Random(3)
    rate = 1 + ppm / 1e6

    def transit(_: float) -> float:
        return 0.03 + chance.uniform(0, 0.01)

    seen = Watched(Playout(30)).run(packets(3600, transit, rate=rate), 100.0 + 3590)
    _assert_smooth(seen)
    assert seen.playout.delay == pytest.approx(0.05, abs=0.01)
    # 0.72 s of drift were followed: at the end, frames are shown as long after their capture as at first.
    number, shown = seen.numbers[-1], seen.times[-1]
    assert shown - (100.0 + number * FRAME / rate) == pytest.approx(2 * FRAME + 0.03 + 0.05, abs=0.02)
    assert seen.late == 0


def test_a_slow_first_packet_is_made_up_for_without_a_jump() -> None:
    seen = Watched(Playout(30)).run(packets(30, lambda at: 0.5 if at < 0.1 else 0.02), 130.0)
    _assert_smooth(seen)
    assert seen.playout.delay == pytest.approx(0.05, abs=0.002)


def test_a_cut_changes_nothing() -> None:
    def transit(at: float) -> float | None:
        return None if 10 <= at < 13 else 0.02

    seen = Watched(Playout(30)).run(packets(30, transit), 129.0)
    _assert_smooth(seen)
    assert seen.playout.delay == pytest.approx(0.05, abs=0.002)
    assert seen.late == 0


def test_one_stray_from_long_ago_moves_nothing() -> None:
    playout = started(first=1000)
    for n in range(1, 40):
        playout.arrived(1000 + 3 * n, 10.0 + n / 10)
        if n == 20:
            playout.arrived(0, 12.0)
        playout.advance(10.0 + n / 10)
    assert playout.due(1000) == pytest.approx(10.05, abs=1e-6)


def test_a_receiver_that_slept_jumps_to_where_the_sender_is() -> None:
    """The sender's numbers are a minute ahead: all that comes is far too early."""
    playout = started()
    for n in range(20):
        playout.arrived(1800 + 3 * n, 11.0 + n / 10)
        playout.advance(11.0 + n / 10)
    assert playout.jumps == 1
    assert playout.due(1800) == pytest.approx(11.05, abs=0.01)


def test_a_delay_that_nothing_needs_any_more_is_given_up_at_once() -> None:
    """A sender that is slow to start: its first packets come 2.5 s late, and all others in time."""
    playout = Playout(30)
    for n in range(5):
        playout.arrived(3 * n, 12.5 + n / 10)
        playout.advance(12.5 + n / 10)
    late = playout.due(0)
    for n in range(5, 130):
        now = 10.0 + n / 10
        playout.arrived(3 * n, now)
        playout.advance(now)
    assert playout.jumps == 1
    assert playout.due(0) < late - 2.0
    assert playout.delay < 0.1


def test_a_sender_that_slept_is_waited_for() -> None:
    """Its numbers go on a minute later: all that comes is far too late."""
    playout = started()
    for n in range(20):
        playout.arrived(30 + 3 * n, 71.0 + n / 10)
        playout.advance(71.0 + n / 10)
    assert playout.jumps == 1
    assert playout.due(30) == pytest.approx(71.05, abs=0.01)


@pytest.mark.slow
@given(st.lists(st.tuples(st.floats(0, 3), st.integers(-200, 400)), min_size=1, max_size=80))
def test_whatever_comes_the_delay_stays_in_bounds_and_time_goes_on(steps: list[tuple[float, int]]) -> None:
    playout, now = Playout(30), 10.0
    for passed, number in steps:
        now += passed
        jumps, before = playout.jumps, playout.due(0) if playout.started else None
        playout.arrived(max(0, round(now * 30) + number), now)
        if before is not None and playout.jumps == jumps:
            assert playout.due(0) == before
        before = playout.due(0)
        playout.advance(now)
        assert abs(playout.due(0) - before) <= SLEW * 0.1 + 1e-9
    # Left alone on an even network, it comes back to its bounds.
    for n in range(1200):
        playout.arrived(round(now * 30) + n, now + n / 30)
        playout.advance(now + n / 30)
    assert 0 <= playout.delay <= MAX_DELAY_SECONDS + 0.01
