"""`bench loopback`: sender and receiver as two processes over a real connection on this machine."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.media import contact_sheet, side_by_side, write_file, write_mp4
from bench.metrics import Distances
from bench.processes import CallRecord, run_call
from bench.report import Report, check_output, describe
from models.forecast.names import NAMES
from sender.capture import open_source
from sender.crop import Crop
from shared.command import add_network_arguments
from shared.keypoints import Pictures
from shared.stats import kbps, savings

_COLUMNS = (
    "backbone", "forecaster", "preset", "fps_rendered", "fps_shown", "frames_observed", "frames_forecast",
    "frames_held", "mae", "static_mae", "ssim",
)  # fmt: skip
_RATES = (
    "payload_kbps",
    "app_kbps",
    "wire_up_kbps",
    "wire_down_kbps",
    "savings_payload",
    "savings_app",
    "savings_wire",
)
_TIMES = (
    "latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "latency_arrival_p95_ms", "latency_buffer_p95_ms",
    "latency_present_p95_ms", "stage_capture_ms", "stage_detect_ms", "stage_forecast_ms", "stage_render_ms",
    "longest_freeze_ms",
)  # fmt: skip
_SHEET_COLUMNS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add = parser.add_argument
    add("--source", default="demo", help="a video file, or demo (default)")
    add("--crop", metavar="X,Y,SIZE", help="the square to send; default: the centre square")
    add("--seconds", type=float, help="end the call after this long")
    add("--forecaster", choices=NAMES, help="default: what the receiver takes for this backbone")
    add("--preset", default="paper")
    add("--schedule", default="6-6", metavar="N-M")
    add("--frames-per-message", type=int, metavar="N")
    add_network_arguments(parser)
    add(
        "--perceptual",
        type=Path,
        metavar="FILE",
        help="SqueezeNet v1.1 convolutions, for the perceptual column",
    )
    add("--output", type=Path, metavar="FILE.mp4", help="source beside received, forecast frames marked")
    add("--sheet", type=Path, metavar="FILE.png", help="a contact sheet of the same")
    add("--json", type=Path, metavar="FILE", help="the report for other programs")


def run(options: argparse.Namespace) -> int:
    """Run one call, measure it, print and write the report. Returns the exit code."""
    for path in filter(None, (options.output, options.sheet, options.json)):
        check_output(path)
    open_source(options.source, _crop(options)).close()  # a wrong source is told before two processes start
    distances = Distances(options.perceptual)
    with tempfile.TemporaryDirectory(prefix="keycast-") as folder:
        print(f"calling with {options.source} ...", flush=True)
        record = run_call(
            Path(folder), _receiver_arguments(options), _sender_arguments(options), options.seconds
        )
        quality = _compare(record, options, distances)
    row = {**_call_row(record, options), **quality}
    meta = describe(
        "loopback", options.device, source=options.source, schedule=options.schedule,
        seconds=record.sender["seconds"], frames_dropped=record.receiver["frames_dropped"],
        late_frames=record.receiver["late_frames"],
        note="wire: all IP bytes, set-up and source picture too; savings_wire: both directions",
    )  # fmt: skip
    for title, columns in (("frames", _COLUMNS), ("rates", _RATES), ("times, ms", _TIMES)):
        print(f"\n{title}\n{Report('loopback', [row], columns, meta).table()}")
    print()
    Report("loopback", [row], (), meta).write(options.json)
    return 0


def _crop(options: argparse.Namespace) -> Crop | None:
    return Crop.parse(options.crop) if options.crop else None


def _shared_arguments(options: argparse.Namespace) -> list[str]:
    given = {"--backbone": options.backbone, "--checkpoint": options.checkpoint, "--device": options.device}
    return [str(word) for name, value in given.items() if value is not None for word in (name, value)]


def _receiver_arguments(options: argparse.Namespace) -> list[str]:
    chosen = [] if options.forecaster is None else ["--forecaster", options.forecaster]
    return [*chosen, *_shared_arguments(options)]


def _sender_arguments(options: argparse.Namespace) -> list[str]:
    given = {
        "--source": options.source, "--preset": options.preset, "--schedule": options.schedule,
        "--frames-per-message": options.frames_per_message, "--crop": options.crop,
    }  # fmt: skip
    words = [str(word) for name, value in given.items() if value is not None for word in (name, value)]
    return [*words, *_shared_arguments(options)]


def _call_row(record: CallRecord, options: argparse.Namespace) -> dict[str, Any]:
    ours, theirs = record.sender, record.receiver
    seconds = ours["seconds"]
    rates = {
        "payload": kbps(ours["payload_bytes"], seconds),
        "app": kbps(ours["app_sent"] + ours["app_received"], seconds),
        "wire_up": kbps(ours["wire_sent"], seconds),
        "wire_down": kbps(ours["wire_received"], seconds),
    }
    wire = rates["wire_up"] + rates["wire_down"]
    same = (
        "fps_rendered",
        "fps_shown",
        "frames_observed",
        "frames_forecast",
        "frames_held",
        "longest_freeze_ms",
    )
    return {
        "backbone": ours["backbone"],
        "forecaster": theirs["forecaster"],
        "preset": options.preset,
        "policy": f"alternate {options.schedule}",
        **{name: theirs[name] for name in same},
        **{f"{name}_kbps": value for name, value in rates.items()},
        "savings_payload": savings(rates["payload"]),
        "savings_app": savings(rates["app"]),
        "savings_wire": savings(wire),
        **{name: value for name, value in theirs.items() if name.startswith("latency_")},
        **{f"stage_{name}_ms": value for name, value in {**ours["stages_ms"], **theirs["stages_ms"]}.items()},
    }


def _compare(record: CallRecord, options: argparse.Namespace, distances: Distances) -> dict[str, float]:
    """Measure what was shown against the source's own frames, and leave the pictures for people."""
    static = Distances(with_ssim=False)
    first: Pictures | None = None
    for _, source, received, _ in _pairs(record, options):
        first = source if first is None else first
        distances.add(source, received)
        static.add(source, first)
    if options.output is not None:
        count = write_mp4(options.output, _beside(record, options))
        print(f"wrote {options.output}: {count} frames, source beside received")
    if options.sheet is not None:
        write_file(options.sheet, _sheet(record, options))
        print(f"wrote {options.sheet}")
    return {**distances.row(), "static_mae": static.row()["mae"]}


def _pairs(record: CallRecord, options: argparse.Namespace) -> Iterator[tuple[int, Pictures, Pictures, str]]:
    """Yield frame number, source picture, received picture and kind of every frame shown."""
    source = open_source(options.source, _crop(options))
    pictures = np.load(record.pictures, mmap_mode="r")
    try:
        for (number, kind, _), picture in zip(record.receiver["shown"], pictures, strict=False):
            original = source.frame(number)
            if original is not None:
                yield number, original, np.asarray(picture), kind
    finally:
        source.close()


def _beside(record: CallRecord, options: argparse.Namespace) -> Iterator[Pictures]:
    for number, source, received, kind in _pairs(record, options):
        yield side_by_side(source, received, f"{number / 30:.1f} s", kind != "observed")


def _sheet(record: CallRecord, options: argparse.Namespace) -> bytes:
    shown = record.receiver["shown"]
    moments = set(np.linspace(0, len(shown) - 1, min(_SHEET_COLUMNS, len(shown))).astype(int).tolist())
    chosen = [pair for index, pair in enumerate(_pairs(record, options)) if index in moments]
    captions = [f"{number / 30:.1f} s {kind}" for number, _, _, kind in chosen]
    return contact_sheet(
        [("source", [pair[1] for pair in chosen]), ("received", [pair[2] for pair in chosen])], captions
    )
