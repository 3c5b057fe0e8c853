"""`bench soak`: a call that goes on and on: whether memory, open files and latency stay what they are.

Both sides are real processes over a path without fault; every few seconds it is noted what they hold, as
Linux tells in /proc, and how long after their capture recent frames were shown. What has grown is the median
slope between all pairs of notes (Theil 1950, Sen 1968), over the time measured: a few odd notes do not count.
The first fifth of the time is for warming up. Exits 1 where a limit is broken.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from bench.harness.calls import Call, add_call_arguments
from bench.harness.clip_runs import Findings, check_folder, publish
from bench.harness.disturbed import DisturbedCall, Side
from bench.harness.plots import COLOURS, check_plots, legend, new_figure, png
from bench.harness.report import Row, check_output, describe
from shared.errors import RequestError

COLUMNS = ("quantity", "start", "end", "growth", "limit", "flat")
WARMING_SHARE = 0.2
MIN_NOTES = 5
_EVERY_SECONDS = 5.0
_MEGABYTE = 2**20
_COMPARED = 200
_SIDES: tuple[Side, ...] = ("receiver", "sender")


@dataclass(frozen=True)
class Limit:
    """Permitted growth while measured: `share` of the start, or `most`, whichever is more."""

    title: str
    share: float = 0.0
    most: float = 0.0

    def of(self, start: float) -> float:
        """Return the limit for a quantity that started at `start`."""
        return max(self.share * start, self.most)


LIMITS = {
    "receiver_mb": Limit("receiver: resident memory, MB", 0.05, 4.0),
    "sender_mb": Limit("sender: resident memory, MB", 0.05, 4.0),
    "receiver_files": Limit("receiver: open files", most=2.0),
    "sender_files": Limit("sender: open files", most=2.0),
    "latency_ms": Limit("recent latency, ms", 0.1, 20.0),
    "delay_ms": Limit("playout delay, ms", 0.1, 20.0),
}


@dataclass
class Notes:
    """Values noted, and `at` how many seconds after the beginning."""

    at: list[float] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in LIMITS})

    def add(self, at: float, values: dict[str, float]) -> None:
        """Take in one note of every quantity."""
        self.at.append(at)
        for name, value in values.items():
            self.values[name].append(value)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_call_arguments(parser)
    add = parser.add_argument
    add("--minutes", type=float, default=5.0, help="how long to call (default 5)")
    add("--json", type=Path, metavar="FILE", help="write the rows as JSON")
    add("--report", type=Path, metavar="FOLDER", help="write the table and a chart here")


def run(options: argparse.Namespace) -> int:
    """Run the call, print what grew, write what was asked for. Returns 1 where a limit is broken."""
    _check(options)
    Call(options).check()
    notes, figures, stopped = _soaked(options)
    if len(notes.at) < MIN_NOTES:
        raise KeyboardInterrupt
    rows = judged(notes)
    minutes = notes.at[-1] / 60
    meta = {**describe("soak", options.device, source=options.source, minutes=minutes), **figures}
    said = [f"{name.replace('_', ' ')}: {value:.4g}" for name, value in figures.items()]
    pictures = {"soak.png": chart(notes)} if options.report is not None else {}
    findings = Findings("soak", rows, [("Growth", rows, COLUMNS)], said, meta, lambda: pictures, stopped)
    code = publish(findings, options.json, options.report)
    return code or int(not all(row["flat"] for row in rows))


def _check(options: argparse.Namespace) -> None:
    if not Path("/proc/self/statm").exists():
        raise RequestError("The memory and open files of processes are read from /proc; run this on Linux.")
    least = MIN_NOTES * _EVERY_SECONDS / 60 / (1 - WARMING_SHARE)
    if not options.minutes >= least:
        raise RequestError(f"A call this short shows nothing; give --minutes {least:.1f} or more.")
    options.seconds, options.loop = 60 * options.minutes, True
    if options.json is not None:
        check_output(options.json)
    if options.report is not None:
        check_folder(options.report)
        check_plots()


def _soaked(options: argparse.Namespace) -> tuple[Notes, dict[str, float], bool]:
    """Return the notes, figures of the whole call, and whether it was stopped early."""
    receiver, sender = Call(options).words()
    words: dict[Side, list[str]] = {"receiver": receiver, "sender": sender}
    with (
        tempfile.TemporaryDirectory(prefix="keycast-") as folder,
        DisturbedCall(Path(folder), words, keep_pictures=False, two_way=options.two_way) as call,
    ):
        for side in _SIDES:
            call.start(side)
        call.await_picture()
        notes, stopped = _noted(call, options.seconds)
        theirs = call.finish().receiver
    names = ("fps_shown", "frames_dropped", "late_frames", "longest_freeze_ms")
    return notes, {name: float(theirs[name]) for name in names}, stopped


def _noted(call: DisturbedCall, seconds: float) -> tuple[Notes, bool]:
    notes, began = Notes(), time.monotonic()
    try:
        for at in tqdm(np.arange(_EVERY_SECONDS, seconds, _EVERY_SECONDS), unit="note", file=sys.stderr):
            time.sleep(max(0.0, began + at - time.monotonic()))
            for side in _SIDES:
                if not call.process(side).running:
                    raise call.process(side).failure()
            notes.add(float(at), _note(call))
    except KeyboardInterrupt:
        return notes, True
    return notes, False


def _note(call: DisturbedCall) -> dict[str, float]:
    asked: dict[str, Any] = call.asked()
    held = {
        name: value
        for side in _SIDES
        for name, value in (
            (f"{side}_mb", resident_bytes(call.process(side).pid) / _MEGABYTE),
            (f"{side}_files", float(open_files(call.process(side).pid))),
        )
    }
    # A receiver too busy to answer leaves a gap, not a zero.
    latency, delay = (float(asked.get(name, np.nan)) for name in ("latency_recent_ms", "playout_delay_ms"))
    return {**held, "latency_ms": latency, "delay_ms": delay}


def resident_bytes(pid: int) -> int:
    """Return the memory that process `pid` has resident, in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def open_files(pid: int) -> int:
    """Return how many files, sockets and pipes process `pid` has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def judged(notes: Notes) -> list[Row]:
    """Return a row for each quantity: what it was, what it has grown by after warming up, and the limit."""
    rows: list[Row] = []
    for name, limit in LIMITS.items():
        at, values = _warm(notes, name)
        quarter = max(1, len(values) // 4)
        start, end = (float(np.median(part)) for part in (values[:quarter], values[-quarter:]))
        growth = slope(at, values) * (at[-1] - at[0])
        most = limit.of(start)
        rows.append(
            {
                "quantity": limit.title, "name": name, "start": start, "end": end, "growth": growth,
                "limit": most, "flat": bool(growth <= most),
            }
        )  # fmt: skip
    return rows


def _warm(notes: Notes, name: str) -> tuple[Sequence[float], Sequence[float]]:
    """Return moments and values after warming up, those that were not answered left out."""
    begin = notes.at[-1] * WARMING_SHARE
    known = [
        (at, value)
        for at, value in zip(notes.at, notes.values[name], strict=True)
        if at >= begin and not np.isnan(value)
    ]
    if not known:
        return [0.0, 0.0], [np.nan, np.nan]
    moments, values = zip(*known, strict=True)
    return moments, values


def slope(at: Sequence[float], values: Sequence[float]) -> float:
    """Return the median slope between all pairs of points (Theil-Sen); of many points, an even choice."""
    chosen = np.linspace(0, len(at) - 1, min(len(at), _COMPARED)).astype(int)
    x, y = np.asarray(at, float)[chosen], np.asarray(values, float)[chosen]
    first, second = np.triu_indices(len(x), 1)
    apart = x[second] - x[first]
    steps = (y[second] - y[first])[apart > 0] / apart[apart > 0]
    return float(np.median(steps)) if len(steps) else float("nan")


def chart(notes: Notes) -> bytes:
    """Return a PNG: each kind of quantity over the minutes."""
    figure, axes = new_figure(1, 3, 12, 3)
    minutes = np.array(notes.at) / 60
    panels = (("mb", "resident memory, MB"), ("files", "open files"), ("ms", "ms"))
    for axis, (ending, title) in zip(axes, panels, strict=True):
        names = [name for name in LIMITS if name.endswith(f"_{ending}")]
        for colour, name in zip(COLOURS, names, strict=False):
            axis.plot(minutes, notes.values[name], color=colour, label=name.removesuffix(f"_{ending}"))
        axis.set_xlabel("minutes")
        axis.set_ylabel(title)
        axis.set_ylim(bottom=0)
        legend(axis, fontsize=8)
    return png(figure)
