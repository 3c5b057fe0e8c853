"""`bench anomaly`: whether the surprise of GRU-NF finds what is put into footage: a jump, a freeze, a swap.

The keypoints of every clip are detected, faults put into copies of them at random places, and every frame
scored as `animate --anomaly` does. AUC is the area under the ROC curve over frames: those that show the fault
(see `bench.forecast.anomaly_inject`) against all frames of the untouched clips. Next to it stands a score
that knows no past but the last frame: how much the points moved, calibrated and combined in the same way.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.forecast.anomaly_inject import KINDS, LASTING, Fault, Kind, change, inject, seen
from bench.forecast.anomaly_score import THRESHOLD, plot, score
from bench.forecast.forecasters import add_weights, density
from bench.forecast.windows import keypoints_of
from bench.harness.clip_runs import Findings, check_folder, each, publish
from bench.harness.clip_set import Clip, ClipError, check_clip, find_clips
from bench.harness.plots import COLOURS, check_plots, legend, new_figure, png
from bench.harness.report import Value, check_output, describe
from models.build import load_backbone, use_threads
from models.forecast.likelihood import Doubles, ordinary, surprise
from models.forecast.networks import Density
from shared.constants import FPS
from shared.errors import RequestError
from shared.keypoints import Floats, KeypointLayout
from shared.runtime.command import add_network_arguments

COLUMNS = ("kind", "auc", "found", "auc_change_alone", "false_alarms_per_minute", "n")


@dataclass
class Scored:
    """Results of the clips: by method scores of untouched frames, by kind those of frames with a fault."""

    plain: list[Doubles] = field(default_factory=list)
    faulty: dict[Kind, list[Doubles]] = field(default_factory=lambda: {kind: [] for kind in KINDS})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add = parser.add_argument
    add("--clips", nargs="+", type=Path, required=True, metavar="FOLDER",
        help="folders of clips; a clips.csv in one (columns file, person) says who is who")  # fmt: skip
    add(
        "--faults",
        type=int,
        default=4,
        metavar="N",
        help="faults of each kind to put into each clip (default 4)",
    )
    add("--forecaster", choices=("gru-nf", "nf"), default="gru-nf", help="whose exact likelihood is used")
    add("--seed", type=int, default=0)
    add_weights(parser)
    add_network_arguments(parser)
    add("--threads", type=int, help="CPU threads for the networks; default: torch's own choice")
    add("--json", type=Path, metavar="FILE", help="write all rows as JSON")
    add("--report", type=Path, metavar="FOLDER", help="write the tables and charts here")


def run(options: argparse.Namespace) -> int:
    """Measure, print the table, write what was asked for. Returns the exit code."""
    _check(options)
    clips, missing = find_clips(options.clips)
    backbone = load_backbone(options.backbone, options.checkpoint, options.device)
    network = density(options.forecaster, options.weights, backbone)
    went = each(clips, "anomaly", "clip", lambda clip: _track(keypoints_of(backbone, check_clip(clip)), clip))
    tracks = [points for _, points in went.results]
    ours, simple = _both(network, tracks, backbone.layout, options.faults, options.seed)
    rows = _rows(ours, simple)
    minutes = sum(map(len, tracks)) / FPS / 60
    meta = describe(
        "anomaly", backbone.device, options.seed, backbone=backbone.name, fingerprint=backbone.fingerprint,
        forecaster=options.forecaster, clips=len(tracks), clips_missing=missing, clips_skipped=went.skipped,
        minutes=minutes, threshold=THRESHOLD, faults_per_clip_and_kind=options.faults,
    )  # fmt: skip
    lines = [
        f"{len(tracks)} clips, {minutes:.1f} minutes; found: share of faults with a score over {THRESHOLD}.",
        *(f"{row['kind']}: the likelihood is no better than the change alone." for row in rows
          if float(row["auc"] or 0) <= float(row["auc_change_alone"] or 0)),
    ]  # fmt: skip
    findings = Findings(
        "anomaly", rows, [("Faults put into clips", rows, COLUMNS)], lines, meta,
        lambda: {
            "anomaly-roc.png": _roc(ours, simple),
            "anomaly-example.png": _example(network, tracks, backbone.layout, options.seed),
        },
        went.stopped,
    )  # fmt: skip
    return publish(findings, options.json, options.report)


def _track(keypoints: Floats, clip: Clip) -> tuple[Clip, Floats]:
    if len(keypoints) < 2:
        raise ClipError(f"{clip} has fewer than two frames.")
    return clip, keypoints


def _both(
    network: Density, tracks: Sequence[Floats], layout: KeypointLayout, count: int, seed: int
) -> tuple[Scored, Scored]:
    """Score all `tracks` and their faults by the likelihood and by the change alone."""
    step = network.scaling.step.numpy()
    usual = ordinary(
        np.log(np.concatenate([change(points, step)[1:] for points in tracks]).astype(float) + 1e-3)
    )
    ours, simple = Scored(), Scored()

    def moved(points: Floats) -> Doubles:
        value = np.log(change(points, step) + 1e-3) - usual[0]
        z = value / np.where(value < 0, usual[1], usual[2])
        z[0] = 0
        return score(z)

    for number, points in enumerate(tracks):
        ours.plain.append(_scores(network, points))
        simple.plain.append(moved(points))
        for kind in KINDS:
            for fault in faults(kind, points, layout, count, seed + 1000 * number):
                shown = seen(fault)
                ours.faulty[kind].append(_scores(network, fault.keypoints)[shown])
                simple.faulty[kind].append(moved(fault.keypoints)[shown])
    return ours, simple


def faults(kind: Kind, keypoints: Floats, layout: KeypointLayout, count: int, seed: int) -> list[Fault]:
    """Return up to `count` copies of `keypoints` (T, D) with a fault each; none where they are too short."""
    first = seed + 100 * KINDS.index(kind)
    made = [inject(kind, keypoints, layout, first + turn) for turn in range(count)]
    return [fault for fault in made if fault is not None]


def _scores(network: Density, keypoints: Floats) -> Doubles:
    return score(surprise(network, keypoints))


def _rows(ours: Scored, simple: Scored) -> list[dict[str, Value]]:
    minutes = sum(map(len, ours.plain)) / FPS / 60
    alarms = sum(_episodes(values > THRESHOLD) for values in ours.plain) / minutes
    found: list[dict[str, Value]] = []
    for kind in KINDS:
        tries = ours.faulty[kind]
        if tries:
            hit = float(np.mean([values.max() > THRESHOLD for values in tries]))
            found.append({
                "kind": kind, "auc": auc(np.concatenate(tries), np.concatenate(ours.plain)), "found": hit,
                "auc_change_alone": auc(np.concatenate(simple.faulty[kind]), np.concatenate(simple.plain)),
                "false_alarms_per_minute": alarms, "n": len(tries),
            })  # fmt: skip
    if not found:
        raise RequestError(f"No clip is long enough for a fault of {LASTING} frames; give longer ones.")
    return found


def auc(positive: Doubles, negative: Doubles) -> float:
    """Return the area under the ROC curve: how likely a positive score is above a negative one, ties half.

    Mann and Whitney (Annals of Mathematical Statistics 18(1), 1947).
    """
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([positive, negative]))[: len(positive)]
    return float((ranks.sum() - len(positive) * (len(positive) + 1) / 2) / (len(positive) * len(negative)))


def _episodes(beyond: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> int:
    """Return how many runs of frames beyond the threshold there are: an alarm each."""
    return int(np.diff(beyond.astype(int), prepend=0).clip(0).sum())


def _roc(ours: Scored, simple: Scored) -> bytes:
    figure, (axis,) = new_figure(1, 1, 5.6, 4.6)
    for index, kind in enumerate(KINDS):
        for scored, line in ((ours, "-"), (simple, ":")):
            if scored.faulty[kind]:
                right = np.sort(np.concatenate(scored.faulty[kind]))
                wrong = np.sort(np.concatenate(scored.plain))
                at = np.unique(np.concatenate([right, wrong, [-1.0]]))
                hits, alarms = (1 - np.searchsorted(side, at, "right") / len(side) for side in (right, wrong))
                name = kind if scored is ours else f"{kind}, change alone"
                axis.plot(alarms, hits, line, color=COLOURS[index], label=name)
    axis.set_xlabel("share of untouched frames beyond the threshold")
    axis.set_ylabel("share of faulty frames beyond it")
    legend(axis, loc="lower right")
    return png(figure)


def _example(network: Density, tracks: Sequence[Floats], layout: KeypointLayout, seed: int) -> bytes:
    """Draw the score of the longest track with a fault of each kind in a third of it each."""
    points = max(tracks, key=len)
    parts = np.array_split(points, len(KINDS))
    marked, done = [], 0
    changed = []
    for kind, part in zip(KINDS, parts, strict=True):
        fault = inject(kind, part, layout, seed)
        changed.append(part if fault is None else fault.keypoints)
        if fault is not None:
            marked.append((kind, done + fault.first, done + fault.last))
        done += len(part)
    # What a jump moved stays moved, so that there is no second one where its part ends.
    for index in range(1, len(changed)):
        moved = changed[index - 1][-1] - parts[index - 1][-1]
        changed[index] = changed[index] + moved
    return plot(surprise(network, np.concatenate(changed)), marked)


def _check(options: argparse.Namespace) -> None:
    """Raise RequestError for what would fail after the work, before it begins."""
    if options.faults < 1:
        raise RequestError(f"{options.faults} faults show nothing; give --faults 1 or more.")
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
