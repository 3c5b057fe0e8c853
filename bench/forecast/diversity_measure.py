"""Diversity of a forecaster's futures of one window, and their distance from the truth."""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bench.forecast.windows import Horizon, Mode, Scene, keypoints_of, scene, truth
from bench.harness.clip_set import Clip, ClipError
from bench.harness.ledger import Ledger
from bench.harness.metrics import mae, ssim
from shared.interfaces import Backbone, Forecaster
from shared.keypoints import Floats, Pictures

Place = tuple[str, str, str, str]
# Futures that are no further apart than this in any keypoint are one: arithmetic in batches rounds.
SAME = 1e-5


@dataclass(frozen=True)
class Plan:
    """The request: of `samples` futures of each clip's middle window, the `keep` nearest the truth."""

    modes: Sequence[Mode]
    horizons: Sequence[Horizon]
    forecasters: Sequence[Forecaster]
    samples: int
    keep: int
    seed: int


@dataclass(frozen=True)
class Unit:
    """Result of one clip, mode, horizon and model; `apd`, `mae` in [0, 1]."""

    clip: str
    mode: str
    horizon: str
    model: str
    apd: float
    mae: float
    ssim: float

    @property
    def place(self) -> Place:
        """What it is the figures of."""
        return self.clip, self.mode, self.horizon, self.model


def places(plan: Plan, clips: Sequence[Clip]) -> int:
    """Return how many units `clips` make."""
    return len(clips) * len(plan.modes) * len(plan.horizons) * len(plan.forecasters)


def measure(
    backbone: Backbone, plan: Plan, clips: Sequence[Clip], clip: Clip, ledger: Ledger[Unit]
) -> Iterator[Unit]:
    """Give the units of `clip` one by one, from `ledger` or measured and added to it.

    Raises ClipError where it is no sound video or shorter than every window.
    """
    asked = [(mode, horizon, f) for mode in plan.modes for horizon in plan.horizons for f in plan.forecasters]
    known = {
        (mode, horizon, f.name): ledger.find((str(clip), mode, str(horizon), f.name))
        for mode, horizon, f in asked
    }
    if all(known.values()):
        yield from (unit for unit in known.values() if unit is not None)
        return
    keypoints = keypoints_of(backbone, clip)
    if not any(horizon.starts(len(keypoints), 1) for horizon in plan.horizons):
        raise ClipError(f"{clip} is shorter than every window.")
    where: Scene | None = None
    for mode, horizon, forecaster in asked:
        start = middle(horizon, len(keypoints))
        unit = known[mode, horizon, forecaster.name]
        if unit is None and start is not None:
            if where is None or where.mode != mode:
                where = scene(backbone, mode, clips, clip, keypoints)
            if where is not None:
                unit = _measured(plan, where, clip, keypoints, horizon, start, forecaster)
                ledger.add(unit)
        if unit is not None:
            yield unit


def middle(horizon: Horizon, total: int) -> int | None:
    """Return where the middle one of a clip's windows begins; None where it is too short for any."""
    starts = horizon.starts(total)
    return starts[len(starts) // 2] if starts else None


def futures(  # noqa: PLR0917 - one window, and what draws from it
    plan: Plan, forecaster: Forecaster, keypoints: Floats, horizon: Horizon, start: int, clip: Clip
) -> Floats:
    """Return the sampled futures (samples, predicted, D) of the window at `start`; always the same ones.

    Of a forecaster without chance all are one, and it is (1, predicted, D).
    """
    forecaster.reset()
    forecaster.observe(keypoints[start : start + horizon.observed])
    seed = plan.seed + zlib.crc32(f"{clip.name} {horizon}".encode())
    drawn = forecaster.sample(plan.samples, horizon.predicted, seed)
    return drawn[:1] if np.ptp(drawn, axis=0).max() < SAME else drawn


def _measured(  # noqa: PLR0917 - one window of one scene
    plan: Plan, where: Scene, clip: Clip, keypoints: Floats, horizon: Horizon, start: int,
    forecaster: Forecaster,
) -> Unit:  # fmt: skip
    real = truth(where, clip, keypoints, start + horizon.observed, horizon.predicted)
    drawn = (where.draw(one) for one in futures(plan, forecaster, keypoints, horizon, start, clip))
    errors, kept = nearest(drawn, real, plan.keep)
    similar = [ssim(a, b) for video in kept for a, b in zip(video, real, strict=True)]
    return Unit(
        str(clip), where.mode, str(horizon), forecaster.name, apd(np.stack(kept)), float(np.mean(errors)),
        float(np.mean(similar)),
    )  # fmt: skip


def nearest(videos: Iterator[Pictures], real: Pictures, keep: int) -> tuple[list[float], list[Pictures]]:
    """Return the `keep` of `videos`, each as `real` (T, H, W, 3), with the lowest MAE, and those MAEs.

    Never more than `keep` + 1 videos in memory.
    """
    heap: list[tuple[float, int, Pictures]] = []
    for number, video in enumerate(videos):
        error = float(np.mean([mae(a, b) for a, b in zip(video, real, strict=True)]))
        heapq.heappush(heap, (-error, -number, video))
        if len(heap) > keep:
            heapq.heappop(heap)
    heap.sort(reverse=True)
    return [-error for error, _, _ in heap], [video for _, _, video in heap]


def apd(videos: Pictures) -> float:
    """Return the average pairwise displacement of `videos` (M, T, H, W, 3), uint8, in [0, 1].

    Equation 37 of the paper: the mean absolute difference of all M^2 pairs, those of a video with itself
    included. Sorted, the sum of |a - b| over the pairs of M numbers is that of (2 k - M + 1) times the k-th.
    """
    count, frames = len(videos), videos.shape[1]
    weights = 2 * np.arange(count) - count + 1
    total = 0
    for frame in range(frames):
        ordered = np.sort(videos[:, frame].reshape(count, -1), axis=0)
        total += 2 * int((weights * ordered.sum(axis=1, dtype=np.int64)).sum())
    return float(total / (count**2 * videos[0].size * 255))
