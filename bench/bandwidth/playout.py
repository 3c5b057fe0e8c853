"""`bench playout`: what waiting buys: forecast frames become interpolated ones as the playout delay grows.

Calls are simulated (`bench.harness.simulate`) over clips, for each delay without and with loss, and rendered
from each clip's first picture. Means over people, clips of one person counting together.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from bench.bandwidth.policies import Measured, summarise
from bench.harness.clip_runs import Findings, check_folder, each, publish
from bench.harness.clip_set import Clip, find_clips
from bench.harness.footage import film
from bench.harness.metrics import mae
from bench.harness.plots import COLOURS, check_plots, legend, new_figure, png
from bench.harness.report import Row, check_output, describe
from bench.harness.simulate import detect_all, render_all, simulated
from models.build import load_backbone, load_tables
from sender.presets import PRESETS, Sending
from shared.codec.tables import CodecTables
from shared.concealment import Kind
from shared.constants import BACKBONES, FPS
from shared.interfaces import Backbone
from shared.keypoints import Floats, Pictures
from shared.runtime.command import add_device_argument

COLUMNS = ("delay_ms", "loss", "interpolated", "forecast", "mae", "mae_std", "mae_missing", "flicker")
DELAYS = (0, 1, 2, 3, 4, 6, 8)
LOSSES = (0.0, 0.1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add = parser.add_argument
    add("--clips", nargs="+", type=Path, metavar="FOLDER", required=True, help="folders of videos")
    add("--clip-seconds", type=float, default=6.0, metavar="S", help="seconds of each clip (default 6)")
    add("--preset", choices=tuple(PRESETS), default="balanced", help="how keypoints are sent")
    add("--backbone", choices=BACKBONES, help="default: one that runs in real time on this machine")
    add("--checkpoint", type=Path, metavar="FOLDER", help="weights to use instead of the shipped ones")
    add_device_argument(parser)
    add("--json", type=Path, metavar="FILE", help="write the rows as JSON")
    add("--report", type=Path, metavar="FOLDER", help="write the table and a chart here")


def run(options: argparse.Namespace) -> int:
    """Simulate, print the table, write what was asked for. Returns the exit code."""
    if options.json is not None:
        check_output(options.json)
    if options.report is not None:
        check_folder(options.report)
        check_plots()
    clips, _ = find_clips(options.clips)
    backbone = load_backbone(options.backbone, options.checkpoint, options.device)
    tables = load_tables(backbone, options.checkpoint)
    sending = Sending(options.preset)

    def work(clip: Clip) -> Measured:
        return _measure(backbone, tables, sending, clip, options.clip_seconds)

    done = each(clips, "delays", "clip", work)
    rows = summarise(done.results)
    meta = describe("playout", backbone.device, 0, preset=options.preset, clips=len(done.results))
    pictures = {"playout.png": chart(rows)} if options.report is not None else {}
    findings = Findings(
        "playout", rows, [("What longer delays buy", rows, COLUMNS)], lines(rows), meta, lambda: pictures,
        done.stopped,
    )  # fmt: skip
    return publish(findings, options.json, options.report)


def _measure(
    backbone: Backbone, tables: CodecTables | None, sending: Sending, clip: Clip, seconds: float
) -> Measured:
    footage = film(clip, seconds)
    truth = [footage.frames[index] for index in footage.shown]
    keypoints = detect_all(backbone, footage.frames)[list(footage.shown)]
    draw = partial(render_all, backbone, backbone.encode(footage.frames[0]))
    rows: list[Row] = []
    for loss in LOSSES:
        for delay in DELAYS:
            call = simulated(backbone, tables, sending, delay=delay, loss=loss)
            named = {"delay_ms": round(1000 * delay / FPS), "loss": loss}
            rows.append({**named, **_row(list(call.run(keypoints)), draw, truth)})
    return Measured(clip, rows)


def _row(
    shown: Sequence[tuple[int, Floats, Kind]],
    draw: Callable[[Floats], Pictures],
    truth: Sequence[Pictures],
) -> dict[str, float]:
    drawn = draw(np.stack([points for _, points, _ in shown]))
    errors = [mae(truth[number], picture) for (number, _, _), picture in zip(shown, drawn, strict=True)]
    missing = [error for error, (_, _, kind) in zip(errors, shown, strict=True) if kind is not Kind.OBSERVED]
    kinds = [kind for _, _, kind in shown]
    return {
        "interpolated": kinds.count(Kind.INTERPOLATED) / len(kinds),
        "forecast": kinds.count(Kind.FORECAST) / len(kinds),
        "mae": float(np.mean(errors)),
        "mae_missing": float(np.mean(missing)) if missing else float("nan"),
        "flicker": float(np.mean([mae(a, b) for a, b in pairwise(drawn)])),
    }


def lines(rows: Sequence[Row]) -> list[str]:
    """Say what each delay buys against none."""
    said = []
    for row in rows:
        none = next(other for other in rows if other["loss"] == row["loss"])
        if row is not none:
            less = float(row["mae"] or 0) / float(none["mae"] or 1) - 1
            said.append(f"{row['delay_ms']:.0f} ms, {float(row['loss'] or 0):.0%} loss: MAE {less:+.1%}")
    return said


def chart(rows: Sequence[Row]) -> bytes:
    """Return a PNG: MAE over the delay, a line for each loss."""
    figure, (axis,) = new_figure(1, 1, 7, 4)
    for colour, loss in zip(COLOURS, LOSSES, strict=False):
        these = [row for row in rows if row["loss"] == loss]
        at, errors = ([float(row[name] or 0) for row in these] for name in ("delay_ms", "mae"))
        axis.plot(at, errors, "o-", color=colour, label=f"{loss:.0%} loss")
    axis.set_xlabel("playout delay, ms")
    axis.set_ylabel("MAE against the video")
    legend(axis, fontsize=9)
    return png(figure)
