import json

import numpy as np
import pytest

from bench.network.memory_link import pair
from models.lite.layout import DIMENSIONS
from receiver.summary import CallSummary, Shown
from shared.concealment import Kind
from shared.protocol.events import FramesArrived
from shared.protocol.tally import Tally
from shared.runtime.stats import StageTimes


def frame(number: int, kind: Kind = Kind.OBSERVED, done_ms: int = 0, in_time: bool = True) -> Shown:
    return Shown(number, kind, 0.0 if in_time else 0.04, done_ms - 5, done_ms, done_ms / 1000)


def arrive(summary: CallSummary, first: int, count: int, timestamp_ms: int, wall_ms: int) -> None:
    frames = np.zeros((count, DIMENSIONS), np.float32)
    summary.arrived(FramesArrived(first, 0, timestamp_ms, frames, {}), 0.0, wall_ms)


def test_a_call_of_three_frames() -> None:
    summary = CallSummary(30, Tally())
    arrive(summary, 0, 2, 1000, 1040)
    summary.shown(frame(0, done_ms=1090))
    summary.shown(frame(1, done_ms=1123))
    summary.shown(frame(2, Kind.FORECAST, done_ms=1257, in_time=False))
    report = summary.report(pair()[0], 1.0)
    assert (report.packets, report.highest) == (1, 1)
    assert (report.frames_observed, report.frames_forecast, report.frames_held) == (2, 1, 0)
    values = summary.to_map()
    assert values["seconds"] == pytest.approx(0.1)
    assert (values["frames"], values["frames_observed"], values["frames_forecast"]) == (3, 2, 1)
    assert values["fps_shown"] == pytest.approx(20)
    assert values["latency_p50_ms"] == values["latency_recent_ms"] == 90
    assert values["longest_freeze_ms"] == 134
    # From capture (frame 1: 33 ms after frame 0) over arrival to the moment the drawing begins.
    assert values["latency_arrival_p95_ms"] == pytest.approx(40, abs=2)
    assert values["latency_buffer_p95_ms"] == pytest.approx(78, abs=2)
    assert values["latency_present_p95_ms"] == 5
    assert values["shown"] == [(0, "observed", True), (1, "observed", True), (2, "forecast", False)]
    assert json.loads(json.dumps(values))["shown"][2] == [2, "forecast", False]
    assert "3 frames in 0.1 s: 2 observed, 1 forecast, 0 interpolated, 0 held" in summary.lines()[0]


def test_the_clock_of_the_wall_may_run_over() -> None:
    summary = CallSummary(30, Tally())
    arrive(summary, 0, 1, 2**32 - 20, 10)
    summary.shown(frame(0, done_ms=30))
    assert summary.to_map()["latency_p50_ms"] == 50.0


def test_the_recent_latency_forgets_how_the_call_began() -> None:
    summary = CallSummary(30, Tally())
    arrive(summary, 0, 1, 0, 10)
    for n in range(900):
        delay = 400 if n < 500 else 80
        summary.shown(frame(n, done_ms=round(n * 1000 / 30) + delay))
    assert summary.to_map()["latency_recent_ms"] == 80
    assert summary.to_map()["latency_p50_ms"] == 400


def test_numbers_left_out_count_as_time_and_beginning_again_does_not() -> None:
    summary = CallSummary(30, Tally())
    for number in (100, 101, 105, 20, 21):
        summary.shown(frame(number))
    assert summary.to_map()["seconds"] == pytest.approx(8 / 30)


def test_frames_held_and_freezes_are_told_apart() -> None:
    summary = CallSummary(30, Tally())
    for n in range(20):
        kind = Kind.HELD if 4 <= n < 13 or n == 15 else Kind.INTERPOLATED
        summary.shown(frame(n, kind, done_ms=33 * n + (60 if n > 10 else 0)))
    values = summary.to_map()
    assert values["longest_held_ms"] == 300
    assert values["longest_freeze_ms"] == 93
    assert (values["frames_interpolated"], values["frames_held"]) == (10, 10)
    assert len(values["shown_ms"]) == len(values["shown"]) == 20


def test_a_repeated_packet_does_not_change_when_its_frames_came() -> None:
    summary = CallSummary(30, Tally())
    arrive(summary, 0, 1, 1000, 1010)
    arrive(summary, 0, 1, 1000, 1500)
    summary.shown(frame(0, done_ms=1060))
    assert summary.to_map()["latency_arrival_p95_ms"] == 10


def test_memory_is_bounded_however_the_sender_numbers() -> None:
    summary = CallSummary(30, Tally())
    for n in range(5000):
        arrive(summary, 10**6 - 4 * n, 4, 0, 0)
        arrive(summary, 4 * n, 4, 0, 0)
    assert len(summary._arrivals) <= 1024
    for n in range(21_000):
        summary.shown(frame(n))
    assert len(summary.to_map()["shown"]) == 20_000
    assert summary.to_map()["frames"] == 21_000


def test_a_call_without_frames_has_a_summary_too() -> None:
    summary = CallSummary(30, Tally())
    summary.close(pair()[0], StageTimes())
    values = summary.to_map()
    assert (values["seconds"], values["fps_shown"], values["payload_bytes"]) == (0, 0, 0)
    assert summary.lines()


@pytest.mark.parametrize("hours", [-3, 3])
def test_clocks_hours_apart_leave_the_latency_out_and_say_why(hours: int) -> None:
    summary = CallSummary(30, Tally())
    arrive(summary, 0, 30, 0, 3_600_000 * hours + 40)
    for n in range(30):
        summary.shown(frame(n, done_ms=3_600_000 * hours + 33 * n + 80))
    values = summary.to_map()
    assert (values["latency_p50_ms"], values["latency_arrival_p95_ms"]) == (0, 0)
    assert values["clocks_apart_s"] == pytest.approx(10_800, abs=1)
    assert "latency - (the two machines' clocks were 3 h apart)" in summary.lines()[1]
    assert summary.live.snapshot(3600.0 * hours + 1)["latency_ms"] is None


def test_a_frame_that_was_drawn_before_the_machine_slept_is_no_word_on_the_clocks() -> None:
    summary = CallSummary(30, Tally())
    arrive(summary, 0, 60, 0, 40)
    for n in range(60):
        summary.shown(frame(n, done_ms=33 * n + (3_600_000 if n == 30 else 80)))
    assert summary.to_map()["clocks_apart_s"] == 0
    assert "clocks" not in summary.lines()[1]
