"""`bench quality`: how well clips are reconstructed from their first frame and every frame's true keypoints.

Nothing is forecast and nothing is lost: this is the network alone. Each clip's first frame is the source; its
measured frames are compared with what the network renders, and with that first frame shown all the time.
Clips are averaged by person, then people. The perceptual distance is that of `models.perceptual`, a mean over
five depths of SqueezeNet. Faces are compared in the driving frame's face box, scaled to 128x128. With --size,
larger frames are compared with those of larger clips, and beside them what is drawn at 256 and scaled up;
face boxes are then larger, too. With --rd, whole calls are compared with ordinary video codecs instead: see
`bench.rd.rd_command`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.harness.clip_runs import Findings, Pass, Table, check_folder, each, publish
from bench.harness.clip_set import Clip, check_clip, find_clips
from bench.harness.faces import FaceFinder
from bench.harness.landmark_measures import FRAMES, NOTE, open_landmarks
from bench.harness.metrics import PerceptualDistance, check_ssim
from bench.harness.report import Row, Value, check_output, describe
from bench.quality.quality_measure import Measured, Tools, measure_clip
from bench.quality.quality_sheet import Drawing, sheets
from bench.quality.quality_summary import (
    FACE,
    SPEECH,
    WHOLE,
    Summary,
    larger_verdicts,
    missing_fomm,
    static_row,
    summarise,
    verdicts,
    with_shares,
)
from bench.quality.quality_transfer import COLUMNS as TRANSFER
from bench.quality.quality_transfer import choose_pairs, transfer, transfer_sheet
from bench.quality.scaled_up import ScaledUp
from bench.rd import rd_command as rd
from models.build import choose_device, load_backbone, use_threads
from sender.presets import check_size
from shared.constants import SIZES
from shared.errors import RequestError
from shared.interfaces import Backbone
from shared.runtime.command import add_network_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add = parser.add_argument
    add("--clips", nargs="+", type=Path, required=True, metavar="FOLDER",
        help="folders of clips; a clips.csv in one (columns file, person) says who is who")  # fmt: skip
    add_network_arguments(parser)
    add("--fomm", type=Path, metavar="PATH", help="a First Order Motion Model checkpoint to compare with")
    add(
        "--perceptual", type=Path, metavar="FILE", help="SqueezeNet v1.1 convolutions, for perceptual columns"
    )
    add("--faces", type=Path, metavar="FILE", help="YuNet's ONNX file, for the figures of the face alone")
    add("--landmarks", nargs="+", type=Path, default=[], metavar="FOLDER",
        help="with MediaPipe's face_landmark.tflite and iris_landmark.tflite: how well lips, lids and gaze "
        "follow; optionally a second one, with finer landmarks of the clips to measure against")  # fmt: skip
    add("--frames", type=int, metavar="N",
        help="frames of each clip, evenly spread (default 12, with landmarks 60; 0: all)")  # fmt: skip
    larger = "size of the clips' frames, compared with the network's own size scaled up (default 256)"
    add("--size", type=int, choices=SIZES, help=larger)
    add("--threads", type=int, help="CPU threads for the networks; default: torch's own choice")
    add(
        "--transfer",
        action="store_true",
        help="measure ten pairs of different people instead: A's picture, B's motion",
    )
    add("--json", type=Path, metavar="FILE", help="write all rows, one per clip, as JSON")
    add("--report", type=Path, metavar="FOLDER", help="write the tables and charts here")
    rd.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Measure, print the tables, write what was asked for. Returns the exit code."""
    _check(options)
    if options.threads:
        use_threads(options.threads)
    if options.rd:
        return rd.run(options)
    clips, missing = find_clips(options.clips)
    device = choose_device(options.device)
    perceptual = None if options.perceptual is None else PerceptualDistance(options.perceptual, device)
    finder = None if options.faces is None else FaceFinder(options.faces)
    landmarks = open_landmarks(options.landmarks)
    default = 12 if landmarks is None else FRAMES
    frames = default if options.frames is None else options.frames
    backbone = load_backbone(options.backbone, options.checkpoint, options.device)
    tools = Tools(perceptual, finder, frames, landmarks, options.size or backbone.size)
    check_size(tools.size, backbone)
    meta = describe(
        "quality", backbone.device, backbone=backbone.name, fingerprint=backbone.fingerprint,
        frames_per_clip=tools.frames, clips_missing=missing,
        perceptual="mean over five depths of SqueezeNet v1.1" if perceptual else None,
        face_box=f"{tools.face_size}x{tools.face_size}" if finder else None,
        landmarks=NOTE if landmarks else None, size=tools.size,
    )  # fmt: skip
    if options.transfer:
        return publish(_transferred(backbone, clips, tools, meta), options.json, options.report)
    anchor = load_backbone("fomm", options.fomm, options.device) if options.fomm else None
    return publish(_reconstructed(backbone, anchor, clips, tools, meta), options.json, options.report)


def _reconstructed(
    backbone: Backbone, anchor: Backbone | None, clips: Sequence[Clip], tools: Tools, meta: dict[str, Value]
) -> Findings:
    """Measure all clips with `backbone`, and with `anchor` where there is one."""
    done = _measure(backbone, clips, tools)
    rows: list[Row] = [with_shares(result.row) for result in done.results]
    summary = summarise(rows)
    anchors: list[Row] = [static_row(summary.overall)]
    small: Summary | None = None
    if tools.size > backbone.size and not done.stopped:
        beside = _measure(ScaledUp(backbone, tools.size), clips, tools)
        done.stopped = beside.stopped
        more = [with_shares(result.row) for result in beside.results]
        small = summarise(more)
        rows += more
        anchors.append(small.overall)
    if anchor is not None and not done.stopped:
        beside = _measure(anchor, clips, tools)
        done.stopped = beside.stopped
        more = [with_shares(result.row) for result in beside.results]
        rows += more
        anchors.append(summarise(more).overall)
    elif backbone.name != "fomm" and small is None:
        anchors.append(missing_fomm())
    overall: list[Row] = [summary.overall, *anchors]
    printed: list[Row] = [*overall, *summary.worst()]
    tables: list[Table] = [("whole picture; below the anchors the worst three people", printed, WHOLE)]
    if tools.finder is not None:
        box = f"{tools.face_size}x{tools.face_size}"
        tables.append((f"face box of the driving frame, {box}", printed, FACE))
    if tools.landmarks is not None:
        who = "how lips, lids and gaze follow; below, the people whose lips and eyes are furthest off"
        tables.append((who, [summary.overall, static_row(summary.overall), *summary.least_alike()], SPEECH))
    drawing = Drawing(backbone, done.results, summary, tools)
    return Findings(
        "quality", [*rows, *overall], tables, _lines(done, summary, tools, small), {**meta, **_counts(done)},
        lambda: sheets(drawing), done.stopped,
    )  # fmt: skip


def _measure(backbone: Backbone, clips: Sequence[Clip], tools: Tools) -> Pass[Measured]:
    return each(clips, f"quality {backbone.name}", "clip", lambda clip: measure_clip(backbone, clip, tools))


def _transferred(backbone: Backbone, clips: Sequence[Clip], tools: Tools, meta: dict[str, Value]) -> Findings:
    """Animate one person's picture with another's motion, for ten pairs."""
    usable = each(clips, "reading", "clip", check_clip)
    if usable.stopped:
        raise KeyboardInterrupt
    pairs = choose_pairs(usable.results)
    if not pairs:
        raise RequestError(
            "Transfer needs clips of different people, but these show only one; add more clips."
        )
    done = each(pairs, f"transfer {backbone.name}", "pair", lambda pair: transfer(backbone, pair, tools))
    done.skipped += usable.skipped
    rows: list[Row] = [result.row for result in done.results]
    average = {**summarise(rows).overall, "clip": ""}
    box = "faces" if tools.finder else "whole pictures, background and all: give --faces for faces alone"
    lines = [
        "no truth exists here; motion_* is what the network's own detector sees, face_motion_* what the face "
        "detector sees; motion_error: 0 is exact, a still picture has about 1",
        f"identity_kept: share of frames nearer to the source's person than to the driver's, by {box}"
        if tools.perceptual
        else "identity was not measured: give --perceptual",
        _skipped(done),
    ]
    return Findings(
        "transfer", [*rows, average], [("transfer", [*rows, average], TRANSFER)], lines,
        {**meta, **_counts(done)}, lambda: {"transfer.png": transfer_sheet(done.results)}, done.stopped,
    )  # fmt: skip


def _lines(done: Pass[Measured], summary: Summary, tools: Tools, small: Summary | None) -> list[str]:
    lines = [*verdicts(summary, tools.perceptual is not None), _skipped(done)]
    if small is not None and tools.perceptual is not None:
        lines += larger_verdicts(summary, small)
    frames = f"{summary.overall['frames']} frames measured"
    if tools.finder is None:
        lines.append(f"{frames}; the face alone was not measured: give --faces")
    else:
        without = summary.overall["frames_without_face"]
        lines.append(f"{frames}; in {without} no face was found, and they are left out of the face figures")
    if tools.landmarks is None:
        lines.append("lips, lids and gaze were not measured: give --landmarks")
    else:
        lines += _of_landmarks(summary)
    if tools.perceptual is None:
        lines.append("the perceptual distance was not measured: give --perceptual")
    return lines


def _of_landmarks(summary: Summary) -> list[str]:
    overall = summary.overall
    lines = [
        f"{NOTE}; averaged over people. In {overall['frames_without_landmarks']} frames no face was found"
    ]
    if "finder_error" in overall:
        of = ", ".join(f"{overall[f'finder_error{part}']:.4f}" for part in ("", "_lips", "_eyes"))
        lines.append(f"the finder's own distance from the finer landmarks, all, lips, eyes: {of}")
    return lines


def _skipped(done: Pass[Any]) -> str:
    return f"{len(done.results)} measured, {done.skipped} skipped (broken or too short)"


def _counts(done: Pass[Any]) -> dict[str, Value]:
    return {"measured": len(done.results), "skipped": done.skipped, "stopped_early": done.stopped}


def _check(options: argparse.Namespace) -> None:
    check_ssim()  # what is missing is reported before the work, not after it
    if options.frames is not None and options.frames < 0:
        raise RequestError(
            f"{options.frames} frames cannot be measured; give --frames 1 or more, or 0 for all."
        )
    if options.threads is not None and options.threads < 1:
        raise RequestError(f"The networks cannot use {options.threads} threads; give --threads 1 or more.")
    if options.size is not None and (options.transfer or options.rd or options.fomm or options.landmarks):
        raise RequestError(
            "--size cannot be combined with --transfer, --rd, --fomm or --landmarks; leave it, or them, out."
        )
    if options.transfer and options.fomm:
        raise RequestError(
            "--transfer measures one network; use --backbone fomm --checkpoint instead of --fomm."
        )
    if options.json is not None:
        check_output(options.json)
    if options.report is not None:
        check_folder(options.report)
