"""`bench throughput`: time and arithmetic of detection, forecast and rendering, as in the paper's tables.

36 frames stand as blocks of 6 observed and 6 predicted frames: 18 are detected, 18 forecast, 36 rendered. The
wall time of each stage is the median over runs, scaled linearly to 30 frames; fps is 30 / their sum.
TOPS = multiply-accumulates per output frame x 30 / (0.6 x 10^12), where detection and forecast, which happen
for half of the frames, count half.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bench import subjects
from bench.metrics import tops
from bench.report import Report, Row, Value, check_output, describe
from bench.subjects import Forecasting, Subject
from models.build import choose_device, load_backbone, use_threads
from models.lite.backbone import LiteBackbone
from sender.demo import DemoSource
from shared.config import BACKBONES, DEVICES, FPS, Schedule
from shared.errors import RequestError
from shared.keypoints import Pictures

FRAMES = 36
BLOCKS = Schedule(6, 6)
COLUMNS = (
    "backbone", "engine", "device", "precision", "detect_ms", "forecast_ms", "render_ms", "seconds_per_30",
    "fps", "tops", "tops_detect", "tops_forecast", "tops_render", "params_m", "gmac_detect", "gmac_render",
    "ratio_to_plain", "max_pixel_error",
)  # fmt: skip
# Tables 11 and 12: s per 30 frames for detection, forecast and generation; TOPS for each; total TOPS; fps.
_PUBLISHED = {
    "fomm": (0.0336, 0.0743, 0.7097, 0.0310, 0.0001, 2.6883, 2.7194, 36.69),
    "tps": (0.0283, 0.0878, 0.9466, 0.0592, 0.0001, 6.3617, 6.4210, 28.23),
    "neural talking head": (0.0893, 0.0782, 1.1323, 0.1958, 0.0001, 9.8067, 10.0026, 23.08),
}


@dataclass(frozen=True)
class Stages:
    """Seconds that each stage takes for 30 frames of output."""

    detect: float
    forecast: float
    render: float

    @property
    def total(self) -> float:
        """All three together."""
        return self.detect + self.forecast + self.render


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bench throughput`."""
    add = parser.add_argument
    add("--backbone", choices=BACKBONES, help="measure this one alone; default: all")
    add("--checkpoint", type=Path, help="weights of the chosen backbone; fomm runs with random ones without")
    add("--forecaster", default="vrnn", help="default vrnn")
    add("--device", choices=DEVICES, default="auto")
    add("--runs", type=int, default=5, help="measure this often and take the median (default 5)")
    add("--threads", type=int, help="CPU threads for the networks; default: torch's own choice")
    add("--seed", type=int, default=0, help="for weights that are random (default 0)")
    add("--json", type=Path, metavar="FILE", help="write the table as JSON")


def run(options: argparse.Namespace) -> int:
    """Measure, print the table and write the JSON; return the exit code."""
    _check(options)
    if options.threads:
        use_threads(options.threads)
    device = choose_device(options.device)
    ahead = subjects.forecasting(options.forecaster, device, options.seed)
    clip = demo_clip(FRAMES)
    rows: list[Row] = []
    reference: Plain | None = None
    notes: dict[str, Value] = {}
    for subject in _subjects(options, device):
        row, reference = measure_row(subject, ahead, clip, device, reference)
        rows.append(row)
        notes |= _notes(subject)
    if not ahead.trained:
        notes["forecaster_weights"] = f"{options.forecaster} ran with random weights: none are shipped"
    meta = describe(
        "throughput", device, options.seed,
        processor=platform.processor() or platform.machine(), threads=options.threads, runs=options.runs,
        frames=FRAMES, schedule=str(BLOCKS), forecaster=options.forecaster, forecast_macs=ahead.macs,
        stage_times="milliseconds for 30 frames of output", **notes,
    )  # fmt: skip
    Report("throughput", [*rows, *published_rows()], COLUMNS, meta).publish(options.json)
    for note in notes.values():
        print(f"note: {note}")
    return 0


def demo_clip(count: int) -> Pictures:
    """Return the first `count` frames of the drawn portrait (count, 256, 256, 3)."""
    source = DemoSource(count / FPS)
    try:
        frames = [frame for n in range(count) if (frame := source.frame(n)) is not None]
    finally:
        source.close()
    return np.stack(frames)


@dataclass(frozen=True)
class Plain:
    """The published forward pass of the full network: its time for 30 frames and its pictures."""

    seconds: float
    pictures: Pictures


def measure_row(
    subject: Subject, ahead: Forecasting, clip: Pictures, device: str, plain: Plain | None
) -> tuple[Row, Plain | None]:
    """Measure one subject: its row, and what the rows after it are compared with."""
    subject.facade.set_source(clip[0])
    drawn = subject.facade.render(subject.facade.detect(clip[-1:]))
    stages = measure(subject, ahead, clip)
    if subject.engine == "plain":
        plain = Plain(stages.total, drawn)
    # Random weights draw nearly the same grey everywhere: their error would say nothing.
    same = subject.backbone == "fomm" and subject.trained
    error = float(np.abs(drawn.astype(np.int16) - plain.pictures).max()) / 255 if plain and same else None
    row: dict[str, Value] = {
        "backbone": subject.backbone,
        "engine": subject.engine,
        "device": device,
        "precision": subject.precision,
        **_times(stages),
        **_arithmetic(subject, ahead),
        "ratio_to_plain": plain.seconds / stages.total if plain else None,
        "max_pixel_error": error,
        "source": "measured",
    }
    return row, plain


def measure(subject: Subject, ahead: Forecasting, clip: Pictures) -> Stages:
    """Time the stages of `subject` over its runs: medians, for 30 frames."""
    half = min(BLOCKS.observe, subject.frames // 2)
    subject.facade.warmup()
    ahead.forecaster.observe(subject.facade.detect(clip[:1]))
    ahead.forecaster.forecast(1)
    label = f"{subject.backbone} {subject.engine}"
    runs = [
        _one_run(subject, ahead, clip, half)
        for _ in tqdm(range(subject.runs), desc=label, unit="run", leave=False)
    ]
    scale = FPS / subject.frames
    return Stages(*(statistics.median(stage) * scale for stage in zip(*runs, strict=True)))


def _one_run(subject: Subject, ahead: Forecasting, clip: Pictures, half: int) -> tuple[float, float, float]:
    """Run all blocks of `half` observed and `half` predicted frames; seconds of each stage.

    The facades return arrays, so a stage has ended on a GPU as well when they come back.
    """
    ahead.forecaster.reset()
    detect = forecast = render = 0.0
    for start in range(0, subject.frames, 2 * half):
        begin = time.perf_counter()
        seen = subject.facade.detect(clip[start : start + half])
        detected = time.perf_counter()
        ahead.forecaster.observe(seen)
        predicted = ahead.forecaster.forecast(half)
        known = time.perf_counter()
        subject.facade.render(np.concatenate([seen, predicted]))
        drawn = time.perf_counter()
        detect, forecast, render = (
            detect + detected - begin,
            forecast + known - detected,
            render + drawn - known,
        )
    return detect, forecast, render


def published_rows() -> list[Row]:
    """Return the paper's rows, measured there on an RTX 3090 in float32."""
    rows: list[Row] = []
    for backbone, (detect, forecast, render, *load, total, fps) in _PUBLISHED.items():
        rows.append({
            "backbone": backbone, "engine": "published", "device": "RTX 3090", "precision": "float32",
            **_times(Stages(detect, forecast, render)), "fps": fps, "tops": total,
            **dict(zip(("tops_detect", "tops_forecast", "tops_render"), load, strict=True)),
            "source": "published",
        })  # fmt: skip
    return rows


def _times(stages: Stages) -> dict[str, Value]:
    return {
        "detect_ms": 1000 * stages.detect,
        "forecast_ms": 1000 * stages.forecast,
        "render_ms": 1000 * stages.render,
        "seconds_per_30": stages.total,
        "fps": FPS / stages.total,
    }


def _arithmetic(subject: Subject, ahead: Forecasting) -> dict[str, Value]:
    """Return TOPS by stage at 30 fps, and the counts they come from."""
    predicted = 1 - BLOCKS.duty
    load = {
        "tops_detect": tops(subject.macs_detect * BLOCKS.duty, FPS),
        "tops_forecast": tops(ahead.macs * predicted, FPS),
        "tops_render": tops(subject.macs_render, FPS),
    }
    return {
        "tops": sum(load.values()),
        **load,
        "params_m": subject.parameters / 1e6,
        "gmac_detect": subject.macs_detect / 1e9,
        "gmac_render": subject.macs_render / 1e9,
    }


def _subjects(options: argparse.Namespace, device: str) -> Iterator[Subject]:
    """Build what was asked for, one after the other: the full network first, since others refer to it."""
    if options.backbone != "lite":
        model = subjects.load_or_untrained_fomm(options.checkpoint, options.seed)
        trained = options.checkpoint is not None
        yield from subjects.fomm_subjects(model, device, FRAMES, options.runs, trained)
    if options.backbone != "fomm":
        lite = load_backbone("lite", options.checkpoint, device)
        assert isinstance(lite, LiteBackbone)
        yield subjects.lite_subject(lite, FRAMES, options.runs)


def _notes(subject: Subject) -> dict[str, Value]:
    """Return what a reader of the row must know."""
    notes: dict[str, Value] = {}
    if not subject.trained:
        notes[f"{subject.backbone}_weights"] = (
            f"{subject.backbone} ran with random weights: its time does not depend on them"
        )
    if subject.frames != FRAMES:
        notes["plain_frames"] = (
            f"{subject.backbone} {subject.engine} was measured once over {subject.frames} frames and scaled"
        )
    return notes


def _check(options: argparse.Namespace) -> None:
    if options.runs < 1 or (options.threads is not None and options.threads < 1):
        raise RequestError("Runs and threads are whole numbers from 1 on; correct --runs or --threads.")
    if options.checkpoint is not None and options.backbone is None:
        raise RequestError("A --checkpoint belongs to one network; add --backbone lite or --backbone fomm.")
    if options.json is not None:
        check_output(options.json)
