import random

import pytest

from receiver.receiver_statistics import ReceiverStatistics
from shared.protocol.message_format import pack_message
from shared.protocol.reports import Report


def feed(
    statistics: ReceiverStatistics,
    transits_ms: list[float],
    gap: float = 0.1,
    start: float = 50.0,
    clock: int = 7,
) -> float:
    """One frame each `gap` s from `start`, so many ms on its way; return when the last one came.

    `clock` is what the sender's clock shows, in ms, at 0 s.
    """
    arrivals = sorted((start + n * gap + ms / 1000, n) for n, ms in enumerate(transits_ms))
    for now, n in arrivals:
        statistics.arrived(n, 1, round((start + n * gap) * 1000 + clock) % 2**32, now)
    return arrivals[-1][0]


def test_a_call_that_has_received_nothing_reports_nothing() -> None:
    assert ReceiverStatistics().report(5.0, 0, 0, 0) == Report()


def test_what_came_is_counted_and_frames_are_handed_on() -> None:
    statistics = ReceiverStatistics()
    statistics.arrived(12, 6, 0, 1.0)
    statistics.arrived(0, 6, 0, 1.1)
    report = statistics.report(1.2, 4, 5, 6)
    assert (report.packets, report.highest) == (2, 17)
    assert (report.frames_observed, report.frames_forecast, report.frames_held) == (4, 5, 6)


@pytest.mark.parametrize("clock", [0, 1_000_000, 2**32 - 52_000])
def test_no_clock_needs_to_be_right(clock: int) -> None:
    statistics = ReceiverStatistics()
    now = feed(statistics, [40.0] * 40, clock=clock)
    report = statistics.report(now, 0, 0, 0)
    assert (report.delay_ms, report.jitter_ms) == (0, 0)


def test_a_queue_that_builds_shows_as_delay() -> None:
    statistics = ReceiverStatistics()
    now = feed(statistics, [20.0] * 20 + [20.0 + 25 * n for n in range(20)])
    # The least of the last 1.5 s: the message that came 1.5 s ago.
    assert statistics.report(now, 0, 0, 0).delay_ms == pytest.approx(475 - 300, abs=60)
    now = feed(statistics, [20.0] * 20, start=60.0)
    assert statistics.report(now, 0, 0, 0).delay_ms == 0


def test_jitter_alone_is_no_delay_and_has_its_size() -> None:
    chance = random.Random(1)
    statistics, delays = ReceiverStatistics(), []
    for n in range(100):
        now = feed(statistics, [chance.uniform(0, 200) for _ in range(5)], gap=0.2, start=50.0 + n)
        delays.append(statistics.report(now, 0, 0, 0).delay_ms)
    assert sorted(delays)[95] < 100
    # The mean difference of two even draws from 0 to 200 is 200 / 3.
    assert statistics.report(now, 0, 0, 0).jitter_ms == pytest.approx(67, abs=25)


def test_what_a_message_waits_for_its_own_frames_is_no_delay() -> None:
    statistics = ReceiverStatistics()
    for n, count in enumerate([1, 6, 3, 30, 1]):
        captured = 10.0 + n
        statistics.arrived(30 * n, count, round(captured * 1000), captured + (count - 1) / 30 + 0.02)
    report = statistics.report(15.0, 0, 0, 0)
    assert report.delay_ms <= 1
    assert report.jitter_ms <= 1


def test_the_delay_stands_until_another_message_comes() -> None:
    statistics = ReceiverStatistics()
    feed(statistics, [20.0] * 5)
    now = feed(statistics, [320.0], start=60.0)
    assert statistics.report(now + 8, 0, 0, 0).delay_ms == 300


def test_a_clock_that_drifts_is_followed() -> None:
    """A sender's clock that loses 200 ppm would look like 240 ms of delay after 20 minutes."""
    statistics = ReceiverStatistics()
    for n in range(1200):
        statistics.arrived(n, 1, round(n * 1000 * (1 - 200e-6)), float(n))
    assert statistics.report(1200.0, 0, 0, 0).delay_ms < 30


def test_hostile_numbers_still_fit_a_report() -> None:
    chance, statistics = random.Random(2), ReceiverStatistics()
    for n in range(2000):
        statistics.arrived(2**32 - 40, 32, chance.getrandbits(32), 50.0 + n / 1000)
        report = statistics.report(50.0 + n / 1000, 2**40, 2**32, 0)
        assert len(pack_message(report)) == 25
    assert len(statistics._recent) <= 512


def test_one_number_that_is_wrong_says_nothing_of_the_others() -> None:
    """A message that slept for over half an hour on its way may seem to come from the future."""
    statistics = ReceiverStatistics()
    feed(statistics, [20.0] * 20)
    statistics.arrived(99, 1, 7 + 80_000, 53.0)
    now = feed(statistics, [20.0] * 20, start=55.0)
    assert statistics.report(now, 0, 0, 0).delay_ms == 0


def test_weeks_are_counted_through() -> None:
    """Milliseconds modulo 2**32 run over after 49.7 days, their differences after half of it."""
    statistics = ReceiverStatistics()
    for day in range(120):
        now = feed(statistics, [20.0] * 20, start=86_400.0 * day)
        report = statistics.report(now, 0, 0, 0)
        assert (report.delay_ms, report.jitter_ms) == (0, 0)
