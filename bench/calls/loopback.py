"""`bench loopback`: sender and receiver as two processes over a real connection on this machine."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from bench.harness import wire_causes
from bench.harness.calls import Call, add_call_arguments
from bench.harness.landmark_measures import COLUMNS, NOTE, add_landmarks_argument, open_landmarks
from bench.harness.media import write_file, write_mp4
from bench.harness.report import Report, check_output, describe
from bench.network.impairment import PathImpairment

_COLUMNS = (
    "backbone", "forecaster", "preset", "policy", "fps_rendered", "fps_shown", "frames_observed",
    "frames_forecast", "frames_interpolated", "frames_held", "mae", "static_mae", "ssim",
)  # fmt: skip
_RATES = (
    "payload_kbps", "app_kbps", "wire_up_kbps", "wire_down_kbps", "wire_up_60s_kbps", "wire_down_60s_kbps",
    "audio_kbps", "audio_wire_kbps", "savings_payload", "savings_app", "savings_wire",
)  # fmt: skip
_TIMES = (
    "latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "latency_arrival_p95_ms", "latency_buffer_p95_ms",
    "latency_present_p95_ms", "playout_delay_ms", "processing_delay_ms", "stage_capture_ms",
    "stage_detect_ms", "stage_decide_ms", "stage_forecast_ms", "stage_render_ms", "longest_freeze_ms",
)  # fmt: skip
_PROCESSES = (
    "cpu_sender", "cpu_receiver", "rss_sender_mb", "rss_receiver_mb", "start_sender_s", "start_receiver_s",
    "loop_block_ms", "loop_block_p99_ms",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_call_arguments(parser)
    add = parser.add_argument
    add("--impair", metavar="SPEC", help='impairment of the path, such as "loss=20,jitter=200,rate=30"')
    add("--seed", type=int, default=0, help="of the path's random impairments")
    add(
        "--output",
        type=Path,
        metavar="FILE.mp4",
        help="source and received video side by side, forecast frames marked",
    )
    add("--sheet", type=Path, metavar="FILE.png", help="a contact sheet of the same")
    add_landmarks_argument(parser)
    add("--json", type=Path, metavar="FILE", help="write the report as JSON")


def run(options: argparse.Namespace) -> int:
    """Run one call, measure it, print and write the report. Returns the exit code."""
    impairment = PathImpairment.parse(options.impair) if options.impair else None
    for path in filter(None, (options.output, options.sheet, options.json)):
        check_output(path)
    call = Call(options, impairment, options.seed)
    call.check()
    landmarks = open_landmarks([options.landmarks] if options.landmarks else [])
    with tempfile.TemporaryDirectory(prefix="keycast-") as folder:
        print(f"calling with {options.source} ...", flush=True)
        record = call.run(Path(folder))
        rows = call.rows(record, options.perceptual, landmarks)
        if options.output is not None:
            count = write_mp4(options.output, call.comparison(record))
            print(f"wrote {options.output}: {count} frames, source beside received")
        if options.sheet is not None:
            write_file(options.sheet, call.sheet(record))
            print(f"wrote {options.sheet}")
    meta = describe(
        "loopback", options.device, options.seed, source=options.source, schedule=options.schedule,
        impairment=options.impair, packets_up=record.up.packets, packets_down=record.down.packets,
        packets_up_lost=record.up.dropped, packets_down_lost=record.down.dropped,
        seconds=record.sender["seconds"], frames_dropped=record.receiver["frames_dropped"],
        late_frames=record.receiver["late_frames"], copied_frames=record.receiver["copied_frames"],
        rate_halved=record.sender["rate_halved"], held_back_packets=record.sender["held_back_packets"],
        note="wire: all IP bytes, counted on the way, set-up and source picture too; savings_wire: both "
        "directions; 60s: spread over a call of a minute",
    )  # fmt: skip
    rates: tuple[str, ...] = ()
    if options.two_way:
        rates = ("wire_total_kbps", "wire_total_60s_kbps")
    tables = {"frames": _COLUMNS, "rates": (*_RATES, *rates), "times, ms": _TIMES, "processes": _PROCESSES}
    if landmarks is not None:
        tables[f"lips, lids and gaze; {NOTE}"] = COLUMNS
    which = ("direction",) if options.two_way else ()
    for title, columns in tables.items():
        print(f"\n{title}\n{Report('loopback', rows, which + columns, meta).table()}")
    # Of a two-way call, the other direction's row says the same: there is one wire.
    print(
        f"\n{wire_causes.TITLE}\n"
        f"{Report('loopback', wire_causes.by_way(rows[:1]), wire_causes.COLUMNS[2:], meta).table()}\n"
    )
    Report("loopback", rows, (), meta).write(options.json)
    return 0
