"""`bench forecast`: how well each forecaster predicts what comes next, in pixels and in keypoints.

Windows of every clip that do not overlap: the first frames are observed, the next ones forecast and drawn.
Frames are a clip's own, each once, whatever its rate; the shipped forecasters were trained at 30 per second.
MAE is that of the pictures, in [0, 1] (equation 33 of the paper): in reconstruction against the video, in
transfer against what is drawn from the true keypoints. Next to it the error of the keypoints themselves, over
all windows, and JEDi where V-JEPA's weights are given. Windows are averaged by person, then people.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.forecast.forecast_measure import Plan, measure
from bench.forecast.forecast_report import chart, rows, sheet, tables, verdicts
from bench.forecast.forecast_speed import COLUMNS as SPEEDS
from bench.forecast.forecast_speed import speeds
from bench.forecast.forecasters import add_weights, chosen, densities
from bench.forecast.windows import parse_horizons, parse_modes
from bench.harness.clip_runs import Findings, check_folder, each, publish
from bench.harness.clip_set import check_clip, find_clips
from bench.harness.plots import check_plots
from bench.harness.report import check_output, describe
from models.build import choose_device, load_backbone, use_threads
from models.jepa import Features
from shared.errors import RequestError
from shared.runtime.command import add_network_arguments

_EACH = "Milliseconds a step, seconds for 100 futures of 24 frames, likelihood"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add = parser.add_argument
    add("--clips", nargs="+", type=Path, required=True, metavar="FOLDER",
        help="folders of clips; a clips.csv in one (columns file, person) says who is who")  # fmt: skip
    add("--horizons", default="6-6,6-24,12-12", help="OBSERVED-PREDICTED frames, comma-separated")
    add(
        "--modes",
        default="reconstruction,transfer",
        help="reconstruction, transfer, or both, comma-separated",
    )
    add("--models", metavar="NAMES", help="forecasters besides the baselines; default: all that fit")
    add("--windows", type=int, default=3, metavar="N",
        help="windows to render per clip and horizon, evenly spread (default 3; 0: all)")  # fmt: skip
    add("--jepa", type=Path, metavar="FOLDER", help="V-JEPA 2 as saved by transformers, for JEDi")
    add_weights(parser)
    add_network_arguments(parser)
    add("--threads", type=int, help="CPU threads for the networks; default: torch's own choice")
    add("--json", type=Path, metavar="FILE", help="write all rows as JSON")
    add("--report", type=Path, metavar="FOLDER", help="write the tables and charts here")


def run(options: argparse.Namespace) -> int:
    """Measure, print the tables, write what was asked for. Returns the exit code."""
    horizons, modes = parse_horizons(options.horizons), parse_modes(options.modes)
    _check(options)
    device = choose_device(options.device)
    features = None if options.jepa is None else Features(options.jepa, device)
    clips, missing = find_clips(options.clips)
    backbone = load_backbone(options.backbone, options.checkpoint, options.device)
    forecasters = chosen(options.models, options.weights, backbone, device)
    known = densities(forecasters, options.weights)
    plan = Plan(modes, horizons, forecasters, options.windows, features, known)
    went = each(clips, "forecast", "clip", lambda clip: measure(backbone, plan, clips, check_clip(clip)))
    found = rows(plan, went.results)
    if not found:
        raise RequestError(
            "Transfer needs clips of at least two people; add some, or name them in clips.csv."
        )
    costs = {str(row["model"]): row for row in speeds(forecasters, backbone.layout.dimensions)}
    found = [{**row, **costs[str(row["model"])]} for row in found]
    each_model = {str(row["model"]): row for row in found}
    every = sum(len(one.missed) for one in went.results) // len(forecasters)
    people = len({one.clip.person for one in went.results})
    meta = describe(
        "forecast", backbone.device, backbone=backbone.name, fingerprint=backbone.fingerprint,
        clips=len(went.results), people=people, clips_missing=missing, clips_skipped=went.skipped,
        windows_drawn_per_clip=options.windows, windows_for_rmse=every,
        frames_rendered=sum(one.renders for one in went.results),
        jepa=None if features is None else str(options.jepa.name),
    )  # fmt: skip
    lines = [
        f"{len(went.results)} clips of {people} people, {went.skipped} skipped. RMSE: all {every} windows; "
        f"pictures: {options.windows or 'all'} windows of a clip and horizon.",
        "Timed on one core. nats: log-likelihood per number of a frame given those before it, exact for "
        "gru-nf and nf; of vrnn a lower bound.",
        *verdicts(found),
    ]
    findings = Findings(
        "forecast", found,
        [*tables(found, modes, features is not None), (_EACH, [*each_model.values()], SPEEDS)], lines, meta,
        lambda: {"forecast.png": chart(found, modes), **sheet(backbone, plan, went.results)}, went.stopped,
    )  # fmt: skip
    return publish(findings, options.json, options.report)


def _check(options: argparse.Namespace) -> None:
    """Raise RequestError for what would fail after the work, before it begins."""
    if options.windows < 0:
        raise RequestError(f"There are no {options.windows} windows; give --windows 0 (all) or more.")
    if options.threads is not None:
        if options.threads < 1:
            raise RequestError(
                f"The networks cannot use {options.threads} threads; give --threads 1 or more."
            )
        use_threads(options.threads)
    if options.json is not None:
        check_output(options.json)
    if options.report is not None:
        check_folder(options.report)
        check_plots()
