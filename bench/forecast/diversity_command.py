"""`bench diversity`: how different the futures are that a forecaster draws, and how near the truth they stay.

As section 5.3 of the paper: of each clip's middle window many futures are drawn, those of the lowest MAE
kept, and APD, MAE and SSIM measured on these. Means over clips. Stopped at any moment, the same command with
the same --report goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from bench.forecast.diversity_measure import Plan, Unit, measure, places
from bench.forecast.diversity_report import densities, rows, sheets, tables, verdicts
from bench.forecast.forecasters import add_weights, chosen, folder_of
from bench.forecast.windows import parse_horizons, parse_modes
from bench.harness.clip_runs import Findings, check_folder, each, publish
from bench.harness.clip_set import Clip, check_clip, find_clips, one_of_each
from bench.harness.ledger import Ledger
from bench.harness.metrics import check_ssim
from bench.harness.plots import check_plots
from bench.harness.report import check_output, describe
from models.build import choose_device, load_backbone, use_threads
from models.checkpoint import load
from models.forecast.names import LEARNED
from shared.errors import RequestError
from shared.runtime.command import add_network_arguments

LEDGER = "diversity-units.jsonl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add = parser.add_argument
    add("--clips", nargs="+", type=Path, required=True, metavar="FOLDER",
        help="folders of clips; a clips.csv in one (columns file, person) says who is who")  # fmt: skip
    add("--horizons", default="6-24,12-12", help="OBSERVED-PREDICTED frames, comma-separated")
    add(
        "--modes",
        default="reconstruction,transfer",
        help="reconstruction, transfer, or both, comma-separated",
    )
    add(
        "--models",
        default="vrnn,gru-nf",
        metavar="NAMES",
        help="forecasters that draw several futures, besides the baselines, which predict one",
    )
    add("--samples", type=int, default=100, help="futures to draw for each clip (default 100)")
    add("--keep", type=int, default=20, help="how many of them, those nearest the truth, count (default 20)")
    add(
        "--people",
        type=int,
        default=0,
        metavar="N",
        help="one clip each of N people, evenly spread (0: all clips)",
    )
    add("--seed", type=int, default=0)
    add_weights(parser)
    add_network_arguments(parser)
    add("--threads", type=int, help="CPU threads for the networks; default: torch's own choice")
    add("--json", type=Path, metavar="FILE", help="write all rows as JSON")
    add(
        "--report",
        type=Path,
        metavar="FOLDER",
        help="write the tables and charts here, and keep what is done",
    )


def run(options: argparse.Namespace) -> int:
    """Measure, print the tables, write what was asked for. Returns the exit code."""
    horizons, modes = parse_horizons(options.horizons), parse_modes(options.modes)
    _check(options)
    device = choose_device(options.device)
    backbone = load_backbone(options.backbone, options.checkpoint, options.device)
    forecasters = chosen(options.models, options.weights, backbone, device)
    plan = Plan(modes, horizons, forecasters, options.samples, options.keep, options.seed)
    every, missing = find_clips(options.clips)
    clips = one_of_each(every, options.people)
    learned = [one.name for one in forecasters if one.name in LEARNED]
    weights = {name: load(folder_of(name, options.weights)).fingerprint for name in learned}
    settings: dict[str, object] = {
        "backbone": backbone.fingerprint, "weights": weights, "samples": plan.samples, "keep": plan.keep,
        "seed": plan.seed,
    }  # fmt: skip
    ledger = Ledger(options.report / LEDGER if options.report else None, settings, Unit)
    units: list[Unit] = []
    with tqdm(total=places(plan, clips), desc="futures", unit="window", file=sys.stderr) as bar:

        def work(clip: Clip) -> Clip:
            for unit in measure(backbone, plan, every, check_clip(clip), ledger):
                units.append(unit)
                bar.update()
            return clip

        went = each(clips, "diversity", "clip", work)
    found = rows(units)
    if not found:
        raise RequestError(
            "Transfer needs clips of at least two people; add some, or name them in clips.csv."
        )
    meta = describe(
        "diversity", backbone.device, options.seed, backbone=backbone.name, fingerprint=backbone.fingerprint,
        clips=len(went.results), clips_missing=missing, clips_skipped=went.skipped,
        samples=plan.samples, keep=plan.keep,
    )  # fmt: skip
    lines = [
        f"{len(went.results)} clips, {went.skipped} skipped; the middle window of each, {plan.samples} "
        f"futures, the {plan.keep} nearest the truth kept; baselines know one future each.",
        "Scaled over the clips and models of a mode and horizon; the clip of the least MAE has no ratio.",
        *verdicts(found),
    ]
    findings = Findings(
        "diversity", found, tables(found), lines, meta,
        lambda: {"diversity-ratios.png": densities(units), **sheets(backbone, plan, every, went.results[0])},
        went.stopped,
    )  # fmt: skip
    return publish(findings, options.json, options.report)


def _check(options: argparse.Namespace) -> None:
    """Raise RequestError for what would fail after the work, before it begins."""
    if not 2 <= options.keep <= options.samples:
        raise RequestError(f"--keep must be from 2 to --samples ({options.samples}), not {options.keep}.")
    if options.people < 0:
        raise RequestError(f"There are no {options.people} people; give --people 0 (all) or more.")
    if options.threads is not None:
        if options.threads < 1:
            raise RequestError(
                f"The networks cannot use {options.threads} threads; give --threads 1 or more."
            )
        use_threads(options.threads)
    check_ssim()
    if options.json is not None:
        check_output(options.json)
    if options.report is not None:
        check_folder(options.report)
        check_plots()
