"""Timing of the stages of a network: in blocks as the paper times them, and frame by frame."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.throughput.subject import Subject
from bench.throughput.subjects import Forecasting
from shared.constants import FPS, Schedule
from shared.interfaces import Backbone
from shared.keypoints import Pictures
from shared.media.squares import scaled

BLOCKS = Schedule(6, 6)


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


@dataclass(frozen=True)
class Latencies:
    """Milliseconds of each single frame: picture in to keypoints out, and keypoints in to picture out."""

    detect: tuple[float, ...]
    render: tuple[float, ...]

    def fps(self) -> float:
        """Return the frames per second of one stream, frame by frame, with half of the frames detected."""
        spent = BLOCKS.duty * statistics.median(self.detect) + statistics.median(self.render)
        return 1000 / spent


@dataclass
class Timed:
    """A subject and what was measured of it so far: one `Stages` a run."""

    subject: Subject
    runs: list[Stages] = field(default_factory=list)

    def stages(self) -> Stages:
        """Return the medians over all runs."""
        rows = [(run.detect, run.forecast, run.render) for run in self.runs]
        return Stages(*(statistics.median(stage) for stage in zip(*rows, strict=True)))


def rounds(
    plain: Timed | None, others: Sequence[Timed], ahead: Forecasting, clip: Pictures, count: int
) -> list[Callable[[], None]]:
    """Return the runs of a measurement in their order, each to be called once.

    Every subject is run `count` times, in turn, and `plain` before each of those and after the last: what
    else the machine does meanwhile is then met by all of them, so that their ratios mean something.
    """
    steps: list[Timed] = []
    for _ in range(count):
        for timed in others:
            steps += [plain, timed] if plain else [timed]
    if plain:
        steps += [plain] if others else [plain] * count

    def step(timed: Timed) -> Callable[[], None]:
        return lambda: timed.runs.append(run_blocks(timed.subject, ahead, clip))

    return [step(timed) for timed in steps]


def run_blocks(subject: Subject, ahead: Forecasting, clip: Pictures) -> Stages:
    """Run blocks of observed and predicted frames over the subject's frames once, scaled to 30 frames.

    The facades return arrays, so a stage has ended on a GPU as well when they come back.
    """
    half = min(BLOCKS.observe, subject.frames // 2)
    ahead.forecaster.reset()
    source = subject.facade.encode(clip[0])
    detect = forecast = render = 0.0
    for start in range(0, subject.frames, 2 * half):
        begin = time.perf_counter()
        seen = subject.facade.detect(clip[start : start + half])
        detected = time.perf_counter()
        ahead.forecaster.observe(seen)
        predicted = ahead.forecaster.forecast(half)
        known = time.perf_counter()
        subject.facade.render(source, np.concatenate([seen, predicted]))
        drawn = time.perf_counter()
        detect, forecast, render = (
            detect + detected - begin,
            forecast + known - detected,
            render + drawn - known,
        )
    scale = FPS / subject.frames
    return Stages(detect * scale, forecast * scale, render * scale)


def latencies(subject: Subject, clip: Pictures) -> Latencies:
    """Time single frames: each of the subject's `latency_frames` is detected and rendered alone."""
    source, detect, render = subject.facade.encode(clip[0]), [], []
    for index in range(subject.latency_frames):
        frame = clip[index % len(clip)]
        begin = time.perf_counter()
        keypoints = subject.facade.detect(frame[None])
        detected = time.perf_counter()
        subject.facade.render(source, keypoints)
        render.append(1000 * (time.perf_counter() - detected))
        detect.append(1000 * (detected - begin))
    return Latencies(tuple(detect), tuple(render))


def beside_larger(facade: Backbone, clip: Pictures, side: int, count: int) -> tuple[float, float]:
    """Time `count` single frames, and as many of `side` pixels in turn: return the medians in ms."""
    sources = [facade.encode(picture) for picture in (clip[0], scaled(clip[0], side))]
    spent: tuple[list[float], list[float]] = ([], [])
    for index in range(count + 1):
        keypoints = facade.detect(clip[index % len(clip)][None])
        for source, taken in zip(sources, spent, strict=True):
            begin = time.perf_counter()
            facade.render(source, keypoints)
            taken.append(1000 * (time.perf_counter() - begin))
    # Each source's first frame is not one like the others.
    usual, larger = (statistics.median(taken[1:]) for taken in spent)
    return usual, larger


def batch_fps(subject: Subject, clip: Pictures, batch: int, repeats: int = 3) -> float:
    """Return the frames per second of offline work in passes of `batch` frames, half of them detected."""
    frames = clip[np.arange(batch) % len(clip)]
    keypoints, source = subject.facade.detect(frames), subject.facade.encode(clip[0])
    spent = []
    for _ in range(repeats):
        begin = time.perf_counter()
        subject.facade.detect(frames)
        detected = time.perf_counter()
        subject.facade.render(source, keypoints)
        spent.append(BLOCKS.duty * (detected - begin) + time.perf_counter() - detected)
    return batch / statistics.median(spent)
