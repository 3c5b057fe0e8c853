"""`bench throughput`: time and arithmetic of detection, forecast and rendering, as in the paper's tables.

36 frames stand as blocks of 6 observed and 6 predicted frames: 18 are detected, 18 forecast, 36 rendered. The
wall time of each stage is the median over runs, scaled linearly to 30 frames; fps is 30 / their sum.
TOPS = multiply-accumulates per output frame x 30 / (0.6 x 10^12), where detection and forecast, which happen
for half of the frames, count half.

All networks are run in turn, and the published forward pass of the full one before each run of another.
Next to the blocks stands one stream, frame by frame: how long single frames take, and their frames per
second. With --clips, networks whose weights are trained are measured in MAE as well, and with --jepa in JEDi.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bench.forecast.forecasters import folder_of
from bench.harness.clip_set import find_clips
from bench.harness.metrics import tops
from bench.harness.report import Report, Row, Value, check_output, describe
from bench.throughput import subjects
from bench.throughput.accuracy import Accuracy, fitting
from bench.throughput.paper import beside_the_paper, differences, published_rows, rate, times
from bench.throughput.subject import Subject
from bench.throughput.subjects import Forecasting, Memory
from bench.throughput.timing import BLOCKS, Timed, batch_fps, beside_larger, latencies, rounds
from models.build import choose_device, use_threads
from models.devices import device_words
from models.forecast.names import BEST, NAMES
from models.gpu import gpu_failures_explained
from models.jepa import Features
from sender.demo import DemoSource
from shared.constants import BACKBONES, FPS, SIZES
from shared.errors import RequestError
from shared.keypoints import Pictures
from shared.runtime.command import add_device_argument

FRAMES = 36
PUBLISHED = tuple(name for name in BACKBONES if name != "lite")
# The frames whose pictures are compared with the published forward pass.
COMPARED = (1, 11, 22, 35)
COLUMNS = (
    "backbone", "engine", "device", "precision", "weights", "detect_ms", "forecast_ms", "render_ms",
    "seconds_per_30", "fps", "tops", "tops_detect", "tops_forecast", "tops_render", "tops_detect_to_paper",
    "tops_render_to_paper", "numbers", "payload_kbps", "savings_payload", "mae", "jedi", "params_m",
    "gmac_detect", "gmac_render", "ratio_to_plain", "max_pixel_error", "stream_fps", "batch_fps",
    "detect_latency_p50_ms", "detect_latency_p95_ms", "render_latency_p50_ms", "render_latency_p95_ms",
    "latency_frames", "size", "render_usual_ms", "render_larger_ms", "larger_ratio", "peak_memory_mb",
)  # fmt: skip


@dataclass(frozen=True)
class Loaded:
    """A subject that is warm, the frames it drew to be compared, and the memory it took to get there."""

    timed: Timed
    drawn: Pictures
    peak_mb: float | None

    @property
    def subject(self) -> Subject:
        """What is measured."""
        return self.timed.subject


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bench throughput`."""
    add = parser.add_argument
    add("--backbone", choices=BACKBONES, help="measure only this one; default: all")
    add(
        "--checkpoint",
        type=Path,
        help="weights of the chosen backbone; without them, only lite has trained ones",
    )
    for name in PUBLISHED:
        add(f"--{name}", type=Path, metavar="PATH", help=f"weights of {name}")
    add("--forecaster", default=BEST, choices=NAMES, help=f"default: {BEST}")
    add("--weights", nargs="+", type=Path, default=[], metavar="FOLDER",
        help="where `models.training forecaster` left NAME/weights; a folder for each backbone")  # fmt: skip
    add("--clips", nargs="+", type=Path, metavar="FOLDER",
        help="of people: MAE of trained networks on them, six frames observed, six forecast")  # fmt: skip
    spread = "windows of each clip, evenly spread (default 3; 0: all)"
    add("--windows", type=int, default=3, metavar="N", help=spread)
    add("--jepa", type=Path, metavar="FOLDER", help="V-JEPA 2 as saved by transformers, for JEDi")
    add_device_argument(parser)
    add("--runs", type=int, default=5, help="number of measurements to take the median of (default 5)")
    add("--threads", type=int, help="CPU threads for the networks; default: torch's own choice")
    add("--batch", type=int, metavar="N", help="also measure offline work, in passes of N frames")
    larger = "also time rendering at this size, frame by frame in turn with the network's own size"
    add("--size", type=int, choices=SIZES[1:], help=larger)
    add("--seed", type=int, default=0, help="for weights that are random (default 0)")
    add("--json", type=Path, metavar="FILE", help="write the table as JSON")


def run(options: argparse.Namespace) -> int:
    """Measure, print the table and write the JSON; return the exit code."""
    _check(options)
    if options.threads:
        use_threads(options.threads)
    device = choose_device(options.device)
    accuracy = _accuracy(options, device)
    clip = demo_clip(FRAMES)
    rows: list[Row] = []
    notes: dict[str, Value] = {}
    with gpu_failures_explained("repeat the command with --device cpu"):
        for names in _families(options):
            found, noted = _measured(names, options, device, clip, accuracy)
            rows += found
            notes |= noted
    meta = describe(
        "throughput", device, options.seed,
        processor=platform.processor() or platform.machine(), threads=options.threads, runs=options.runs,
        frames=FRAMES, schedule=str(BLOCKS), forecaster=options.forecaster, batch=options.batch,
        stage_times="milliseconds for 30 frames of output", **notes,
    )  # fmt: skip
    Report("throughput", [*rows, *published_rows()], COLUMNS, meta).publish(options.json)
    for note in notes.values():
        print(f"note: {note}")
    return 0


def _families(options: argparse.Namespace) -> list[list[str]]:
    """Return the backbones to measure; those side by side share a forecaster and a plain pass."""
    if options.backbone:
        return [[options.backbone]]
    return [["fomm", "lite"], *([name] for name in BACKBONES if name not in ("fomm", "lite"))]


def _accuracy(options: argparse.Namespace, device: str) -> Accuracy | None:
    """Return what pictures are judged by; None without clips."""
    if options.clips is None:
        return None
    features = None if options.jepa is None else Features(options.jepa, device)
    return Accuracy(find_clips(options.clips)[0], options.windows, features)


def _measured(
    names: list[str], options: argparse.Namespace, device: str, clip: Pictures, accuracy: Accuracy | None
) -> tuple[list[Row], dict[str, Value]]:
    """Measure backbones whose keypoints are alike, and return their rows and what must be known of them."""
    found = (
        each for name in names
        for each in subjects.subjects(name, _weights(options, name), device, FRAMES, options.seed)
    )  # fmt: skip
    memory = Memory(device)
    first = next(found)
    ahead = subjects.forecasting(
        options.forecaster, device, options.seed, first.facade.layout.dimensions,
        fitting(options.forecaster, options.weights, first.facade),
    )  # fmt: skip
    loaded = [load(first, ahead, clip, memory), *_load(found, ahead, clip, device)]
    plain = next((each for each in loaded if each.subject.engine == "plain"), None)
    measure(loaded, plain, ahead, clip, options.runs)
    measured: list[dict[str, Value]] = [
        {
            **blocks_row(each, plain, ahead, device),
            **singles_row(each.subject, clip, options.batch),
            **larger_row(each.subject, clip, options.size),
        }
        for each in loaded
    ]
    notes = _notes(loaded, options, device)
    if not ahead.trained:
        notes[f"{names[0]}_forecaster"] = (
            f"{options.forecaster} ran with random weights for {names[0]}: none are shipped"
        )
    for each, row in zip(loaded, measured, strict=True):
        notes |= differences(each.subject, row)
        if accuracy is not None:
            judged, noted = accuracy.of(each.subject, options.forecaster, options.weights)
            row.update(judged)
            notes |= noted
    return list(measured), notes


def _weights(options: argparse.Namespace, name: str) -> Path | None:
    """Return where the weights of the backbone `name` are said to lie."""
    own: Path | None = vars(options).get(name)
    return own or (options.checkpoint if options.backbone == name else None)


def demo_clip(count: int) -> Pictures:
    """Return the first `count` frames of the drawn portrait (count, 256, 256, 3)."""
    source = DemoSource(count / FPS)
    try:
        frames = [frame for n in range(count) if (frame := source.frame(n)) is not None]
    finally:
        source.close()
    return np.stack(frames)


def _load(found: Iterator[Subject], ahead: Forecasting, clip: Pictures, device: str) -> Iterator[Loaded]:
    """Build one subject after the other, warm it up and let it draw."""
    while True:
        memory = Memory(device)
        subject = next(found, None)
        if subject is None:
            return
        yield load(subject, ahead, clip, memory)


def load(subject: Subject, ahead: Forecasting, clip: Pictures, memory: Memory) -> Loaded:
    """Run every path of `subject` once, with the first frame of `clip` as the source picture."""
    facade = subject.facade
    memory.begin()
    facade.warmup()
    source = facade.encode(clip[0])
    ahead.forecaster.observe(facade.detect(clip[:1]))
    ahead.forecaster.forecast(1)
    drawn = facade.render(source, facade.detect(clip[[index % len(clip) for index in COMPARED]]))
    return Loaded(Timed(subject), drawn, memory.peak_mb())


def measure(
    loaded: list[Loaded], plain: Loaded | None, ahead: Forecasting, clip: Pictures, count: int
) -> None:
    """Time the blocks of all that is loaded, `count` runs of each, in turn."""
    others = [each.timed for each in loaded if each is not plain]
    for step in tqdm(
        rounds(plain.timed if plain else None, others, ahead, clip, count), desc="throughput", leave=False
    ):
        step()


def blocks_row(loaded: Loaded, plain: Loaded | None, ahead: Forecasting, device: str) -> Row:
    """Return what the runs over blocks of frames say, in time, arithmetic, exactness and memory."""
    subject, stages = loaded.subject, loaded.timed.stages()
    # Another network draws other pictures: only the same one, run otherwise, errs.
    same = plain is not None and (plain.subject.backbone, plain.subject.engine) == (subject.backbone, "plain")
    error = pixel_error(loaded, plain) if plain and same else None
    return {
        "backbone": subject.backbone,
        "engine": subject.engine,
        "device": device if device == "cpu" else device_words(device),
        "precision": subject.precision,
        "weights": "trained" if subject.trained else "random",
        **times(stages),
        **_arithmetic(subject, ahead),
        **rate(subject.facade.layout.dimensions),
        "ratio_to_plain": plain.timed.stages().total / stages.total if plain else None,
        "max_pixel_error": error,
        "peak_memory_mb": loaded.peak_mb,
        "source": "measured",
    }


def pixel_error(loaded: Loaded, plain: Loaded) -> float:
    """Return the largest difference of any pixel and colour, in [0, 1]."""
    return float(np.abs(loaded.drawn.astype(np.int16) - plain.drawn).max()) / 255


def singles_row(subject: Subject, clip: Pictures, batch: int | None) -> Row:
    """Return what single frames take, and passes of `batch` frames where that is given."""
    taken = latencies(subject, clip)
    row: dict[str, Value] = {"stream_fps": taken.fps(), "latency_frames": len(taken.render)}
    for name, spent in (("detect", taken.detect), ("render", taken.render)):
        for percent in (50, 95):
            row[f"{name}_latency_p{percent}_ms"] = float(np.percentile(spent, percent))
    if batch and subject.engine != "plain":
        row["batch_fps"] = batch_fps(subject, clip, batch)
    return row


def larger_row(subject: Subject, clip: Pictures, size: int | None) -> Row:
    """Return what frames of `size` take, in turn with those of the usual one; {} where there are none."""
    facade = subject.facade
    if size is None or size not in facade.sizes:
        return {}
    usual, larger = beside_larger(facade, clip, size, subject.latency_frames)
    return {
        "size": size,
        "render_usual_ms": usual,
        "render_larger_ms": larger,
        "larger_ratio": larger / usual,
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
        **(beside_the_paper(subject.backbone, load) if subject.engine == "plain" else {}),
        "params_m": subject.parameters / 1e6,
        "gmac_detect": subject.macs_detect / 1e9,
        "gmac_render": subject.macs_render / 1e9,
    }


def _notes(loaded: list[Loaded], options: argparse.Namespace, device: str) -> dict[str, Value]:
    """Return what a reader of the rows must know."""
    notes: dict[str, Value] = {}
    for subject in (each.subject for each in loaded):
        name = subject.backbone
        if not subject.trained:
            notes[f"{name}_weights"] = f"{name} ran with random weights: its time does not depend on them"
        if subject.frames != FRAMES:
            notes[f"{name}_{subject.engine}_frames"] = (
                f"{name} {subject.engine} was measured over {subject.frames} frames, scaled, "
                "before each run of another network and after the last; ratios are of medians"
            )
    if any(each.subject.engine == "plain" for each in loaded):
        notes["pixel_error"] = f"the largest error of a pixel is that of {len(COMPARED)} frames of the demo"
    if device != "cpu":
        notes["recordings"] = (
            "single frames (stream_fps, latencies) replay CUDA graphs; blocks of frames are launched kernel "
            "by kernel"
        )
    if options.batch:
        notes["offline"] = f"batch_fps is offline, in passes of {options.batch} frames"
    return notes


def _check(options: argparse.Namespace) -> None:
    counts = [options.runs, options.threads, options.batch]
    if any(count is not None and count < 1 for count in counts):
        raise RequestError("--runs, --threads and --batch must be 1 or more.")
    if options.checkpoint is not None and options.backbone is None:
        raise RequestError(
            "--checkpoint applies to one network; add --backbone, or use --fomm, --tps and --nth."
        )
    if options.windows < 0:
        raise RequestError(f"There are no {options.windows} windows; give --windows 0 (all) or more.")
    if options.jepa is not None and options.clips is None:
        raise RequestError("--jepa needs clips of people; add --clips.")
    for root in options.weights:
        folder_of(options.forecaster, root)
    if options.json is not None:
        check_output(options.json)
