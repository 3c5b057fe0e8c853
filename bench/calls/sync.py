"""`bench sync`: whether sound and picture stay together, on good paths and bad ones.

The source is a clip of the drawn portrait that turns its head at a stroke and beeps in the same moment. It
goes through a whole call of two processes, and is looked for in the mp4 that the receiver writes. In
addition, at a loudspeaker without sound, how far every 20 ms of sound was from the moment of its picture.
Where a machine cannot show every frame, the turn is seen in a later one: look at fps_shown as well.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from bench.calls.sync_clip import heard_beeps, seen_turns, skews_ms, write_clip
from bench.harness.processes import CallRecord, run_call
from bench.harness.report import Report, Row, check_output, describe
from bench.network.impairment import PathImpairment
from shared.errors import RequestError
from shared.runtime.stats import kbps

COLUMNS = (
    "condition", "turns", "matched", "skew_p50_ms", "skew_p95_ms", "skew_max_ms", "speaker_skew_p95_ms",
    "speaker_skew_max_ms", "picture_late_p95_ms", "audio_kbps", "audio_wire_kbps", "wire_up_kbps",
    "audio_lost", "audio_recovered", "fps_shown", "playout_delay_ms",
)  # fmt: skip
CONDITIONS = ("", "delay=60,jitter=80", "loss=5,delay=40,jitter=20", "loss=20,jitter=40")
_MIN_SECONDS = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add = parser.add_argument
    add("--seconds", type=float, default=20.0, help="length of the clip (default 20)")
    conditions = 'impairment of a path, such as "loss=5,jitter=40", "" for none; repeatable; default: four'
    add("--impair", action="append", metavar="SPEC", help=conditions)
    add("--audio-kbps", type=float, default=18.0, metavar="KBPS", help="Opus bitrate (default 18)")
    add("--seed", type=int, default=0, help="of the path's random impairments")
    add("--keep", type=Path, metavar="FOLDER", help="keep the clip and what was received")
    add("--json", type=Path, metavar="FILE", help="write the report as JSON")


def run(options: argparse.Namespace) -> int:
    """Run a call for each condition, measure, print and write the report. Returns the exit code."""
    if not options.seconds >= _MIN_SECONDS:
        raise RequestError(f"A clip needs at least {_MIN_SECONDS:g} seconds; give more --seconds.")
    conditions = CONDITIONS if options.impair is None else tuple(options.impair)
    paths = [PathImpairment.parse(text) if text else None for text in conditions]
    if options.json is not None:
        check_output(options.json)
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="keycast-") as folder:
        place = options.keep or Path(folder)
        clip = place / "sync.mkv"
        count = write_clip(clip, options.seconds)
        for number, (text, path) in enumerate(zip(conditions, paths, strict=True)):
            name = text or "none"
            print(f"calling over a path with {name} ...", flush=True)
            received = place / f"received-{number}.mp4"
            record = _call(Path(folder), clip, received, options, path)
            rows.append({"condition": name, "turns": count, **measured(record, received)})
    note = "skew: between beep and turn; where frames are skipped, a turn is seen in the next one"
    meta = describe("sync", "cpu", options.seed, seconds=options.seconds, note=note)
    Report("sync", rows, COLUMNS, meta).publish(options.json)
    return 0


def _call(
    folder: Path, clip: Path, received: Path, options: argparse.Namespace, path: PathImpairment | None
) -> CallRecord:
    sender = ["--source", str(clip), "--audio", "--audio-kbps", str(options.audio_kbps)]
    receiver = ["--output", str(received), "--speaker", "null"]
    return run_call(folder, receiver, sender, impairment=path, seed=options.seed)


def measured(record: CallRecord, received: Path) -> dict[str, float]:
    """Return the row of one call, but for its condition."""
    skews = np.abs(skews_ms(seen_turns(received), heard_beeps(received)))
    p50, p95, most = np.percentile(skews, (50, 95, 100)) if len(skews) else (np.nan,) * 3
    ours, theirs = record.sender, record.receiver
    return {
        "matched": len(skews),
        "skew_p50_ms": float(p50),
        "skew_p95_ms": float(p95),
        "skew_max_ms": float(most),
        **{f"speaker_skew_{name}_ms": theirs[f"sound_skew_{name}_ms"] for name in ("p50", "p95", "max")},
        "picture_late_p95_ms": theirs["picture_late_p95_ms"],
        "audio_kbps": ours["audio_kbps"],
        "audio_wire_kbps": ours["audio_wire_kbps"],
        "wire_up_kbps": kbps(record.up.bytes, ours["seconds"]),
        "audio_lost": theirs["audio_packets_lost"],
        "audio_recovered": theirs["audio_recovered"],
        "fps_shown": theirs["fps_shown"],
        "playout_delay_ms": theirs["playout_delay_ms"],
    }
