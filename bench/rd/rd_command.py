"""`bench quality --rd`: our calls compared with ordinary video codecs, by rate and picture quality.

Clips are sent at 256x256 by each way: our call, simulated without a network, and x264, x265, VP9 and SVT-AV1
in real-time settings, at the clip's own frame rate and at parts of it. All are compared on the 30 pictures
per second that a call shows. Rates are bytes of IP: ours in both directions with acknowledgements, a codec's
RTP packets in one direction. Figures are averaged by person, then over people.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

import av

from bench.harness.clip_runs import Findings, Pass, each, publish
from bench.harness.clip_set import Clip, ClipError, find_clips, one_of_each
from bench.harness.ledger import Ledger
from bench.harness.metrics import PerceptualDistance
from bench.harness.plots import check_plots
from bench.harness.report import Value, describe
from bench.rd.bd_rate import check_scipy
from bench.rd.codecs import CODECS, VideoCodec
from bench.rd.rd_chart import chart
from bench.rd.rd_measure import Plan, Point, measure
from bench.rd.rd_ours import SimulatedCall
from bench.rd.rd_report import rows_of, summarise, tables, verdicts
from models.build import choose_device, load_backbone, load_tables
from sender.gallery import GalleryOptions
from sender.presets import POLICIES, PRESETS, Sending
from shared.codec.quantization import QUALITIES
from shared.errors import KeycastError, RequestError

LEDGER = "rd-points.jsonl"
_QUALITIES = "2,4,6,8"
_TARGETS = "5,8,12,16,20,30,50"
_LOWEST_TARGET, _HIGHEST_TARGET = 1.0, 10_000.0
_HIGHEST_PART, _LONGEST = 30, 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that belong to --rd."""
    group = parser.add_argument_group("rate and distortion")
    add = group.add_argument
    names = ",".join(codec.name for codec in CODECS)
    add("--rd", action="store_true", help="compare our calls with ordinary video codecs, by wire kbps")
    add(
        "--codecs", default=names, metavar="NAMES", help=f"ordinary codecs, comma-separated (default {names})"
    )
    add(
        "--targets",
        default=_TARGETS,
        metavar="KBPS",
        help=f"target bitrates of the codecs (default {_TARGETS})",
    )
    add("--every", default="1,2,3", metavar="N",
        help="encode every Nth frame of a clip with a codec (default 1,2,3)")  # fmt: skip
    add("--preset", choices=PRESETS, default="saver", help="preset of our call (default saver)")
    add("--policy", choices=POLICIES, help="policy of our call (default: the preset's)")
    add("--qualities", default=_QUALITIES, metavar="Q", help=f"qualities of our call (default {_QUALITIES})")
    add("--gallery", type=int, default=4, metavar="N", help="source pictures of our call, 1 to 8 (default 4)")
    add(
        "--source-kbps",
        type=float,
        default=1.6,
        metavar="KBPS",
        help="bitrate of those, over a minute (default 1.6)",
    )
    add("--codecs-only", action="store_true", help="leave our own call out")
    add(
        "--seconds",
        type=float,
        default=6.0,
        metavar="S",
        help="seconds of each clip, from its start (default 6)",
    )
    add(
        "--people",
        type=int,
        default=0,
        metavar="N",
        help="one clip each of N people, evenly spread (0: all clips)",
    )


def run(options: argparse.Namespace) -> int:
    """Measure, print the tables, write what was asked for. Returns the exit code."""
    check_scipy()
    if options.report is not None:
        check_plots()
    codecs, missing_codecs = _codecs(options.codecs)
    targets = _numbers(options.targets, "--targets", _LOWEST_TARGET, _HIGHEST_TARGET)
    every = [int(part) for part in _numbers(options.every, "--every", 1, _HIGHEST_PART)]
    _check(options, codecs)
    clips, missing = find_clips(options.clips)
    device = choose_device(options.device)
    perceptual = None if options.perceptual is None else PerceptualDistance(options.perceptual, device)
    ours = None if options.codecs_only else _ours(options)
    plan = Plan(ours, codecs, targets, every, options.seconds, options.frames, perceptual)
    ledger = Ledger(options.report / LEDGER if options.report else None, _settings(plan), Point)
    went = each(
        one_of_each(clips, options.people), "rate and distortion", "clip",
        lambda clip: _all(plan, clip, ledger),
    )  # fmt: skip
    meta = {
        **describe("quality --rd", device, clips_missing=missing, pyav=av.__version__),
        "ours": ours.name if ours else None, "fingerprint": ours.fingerprint if ours else None,
        "codecs": ",".join(codec.name for codec in codecs),
        "seconds": options.seconds, "frames_per_clip": options.frames,
        "perceptual": "mean over five depths of SqueezeNet v1.1" if perceptual else None,
    }  # fmt: skip
    return publish(_findings(plan, went, missing_codecs, meta), options.json, options.report)


def _findings(
    plan: Plan, went: Pass[list[Point]], missing_codecs: Sequence[str], meta: dict[str, Value]
) -> Findings:
    study = summarise(went.results, plan.ours.name if plan.ours else None)
    people = len({points[0].person for points in went.results})
    lines = [
        *verdicts(study), *missing_codecs,
        f"{len(went.results)} clips of {people} people measured, {went.skipped} skipped; up to "
        f"{plan.seconds:g} s of each; our wire counts both directions, the codecs' one",
    ]  # fmt: skip
    if plan.perceptual is None:
        lines.append("the perceptual distance was not measured: give --perceptual")
    counts = {"measured": len(went.results), "people": people, "skipped": went.skipped}
    return Findings(
        "rd", [*rows_of(went.results), *study.rows], tables(study), lines,
        {**meta, **counts, "stopped_early": went.stopped}, lambda: {"rd.png": chart(study)}, went.stopped,
    )  # fmt: skip


def _all(plan: Plan, clip: Clip, ledger: Ledger[Point]) -> list[Point]:
    try:
        return list(measure(plan, clip, ledger))
    except KeycastError as error:
        raise ClipError(f"{clip}: {error}") from error


def _ours(options: argparse.Namespace) -> SimulatedCall:
    qualities = [int(quality) for quality in _numbers(options.qualities, "--qualities", 0, QUALITIES - 1)]
    sending = Sending(preset=options.preset, policy=options.policy)
    gallery = GalleryOptions(options.gallery, options.source_kbps)
    backbone = load_backbone(options.backbone, options.checkpoint, options.device)
    return SimulatedCall(backbone, load_tables(backbone, options.checkpoint), sending, gallery, qualities)


def _settings(plan: Plan) -> dict[str, object]:
    """Return what points must have in common to stand in one ledger: how they were measured, not of what."""
    return {
        "seconds": plan.seconds,
        "frames": plan.frames, "perceptual": plan.perceptual is not None, "pyav": av.__version__,
        "codecs": {codec.name: codec.options for codec in CODECS},
    }  # fmt: skip


def _codecs(names: str) -> tuple[list[VideoCodec], list[str]]:
    """Return the codecs with these `names` that are there, and a sentence for each that is not."""
    known = {codec.name: codec for codec in CODECS}
    asked = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if unknown := [name for name in asked if name not in known]:
        raise RequestError(f"There is no codec {unknown[0]!r}; choose from {', '.join(known)}.")
    missing = {name: problem for name in asked if (problem := known[name].missing())}
    return [known[name] for name in asked if name not in missing], list(missing.values())


def _numbers(text: str, option: str, low: float, high: float) -> list[float]:
    try:
        found = sorted({float(part) for part in text.split(",")})
    except ValueError:
        found = []
    if not found or not all(low <= value <= high for value in found):
        raise RequestError(
            f"{option} {text!r} is not a comma-separated list of numbers from {low:g} to {high:g}."
        )
    return found


def _check(options: argparse.Namespace, codecs: Sequence[VideoCodec]) -> None:
    if not codecs and options.codecs_only:
        raise RequestError(
            "There is nothing to measure; name a codec that is installed, or leave out --codecs-only."
        )
    if not (math.isfinite(options.seconds) and 0.2 <= options.seconds <= _LONGEST):
        raise RequestError(f"--seconds must be from 0.2 to {_LONGEST:g}, not {options.seconds:g}.")
    if options.people < 0:
        raise RequestError(f"There are no {options.people} people; give --people 0 (all) or more.")
    if options.transfer or options.fomm or options.faces:
        raise RequestError("--rd cannot be combined with --transfer, --fomm or --faces; leave them out.")
