"""How a picture is moved offline by the keypoints of a video, all detected or some forecast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np

from bench.media import mark
from shared.config import Schedule
from shared.errors import RequestError
from shared.fill import Filler, Kind
from shared.interfaces import Backbone, Forecaster
from shared.keypoints import Floats, KeypointLayout, Pictures

Mode = Literal["transfer", "reconstruction"]
BATCH = 12


@dataclass(frozen=True)
class Job:
    """What to animate: `schedule` is None where every frame's own keypoints are used."""

    backbone: Backbone
    mode: Mode
    forecaster: Forecaster | None = None
    schedule: Schedule | None = None
    adapt_scale: bool = False
    """Transfer alone: scale the motion by the sizes of the two faces, as `adapted_scale` says."""
    mark: bool = False
    """Say in the picture which frames were forecast."""


def animate(job: Job, picture: Pictures, frames: Iterator[Pictures]) -> Iterator[Pictures]:
    """Move `picture` (256, 256, 3) as `frames` move: one picture (256, 256, 3) for each.

    With a forecaster, only the frames that the schedule ships are detected; the others are filled in exactly
    as a receiver does it.
    """
    source, layout = job.backbone.encode(picture), job.backbone.layout
    own = source.keypoints
    filler = Filler(job.forecaster, layout) if job.forecaster is not None else None
    first: Floats | None = None
    number, scale = 0, 1.0
    while batch := list(islice(frames, BATCH)):
        points, kinds = _keypoints(job, filler, np.stack(batch), number)
        if first is None:
            first = points[0]
            scale = adapted_scale(layout, own, first) if job.adapt_scale else 1.0
        number += len(batch)
        moved = layout.transfer(own, points, first, scale) if job.mode == "transfer" else points
        for drawn, kind in zip(job.backbone.render(source, moved), kinds, strict=True):
            yield mark(drawn, kind.value) if job.mark and kind is not Kind.OBSERVED else drawn


def adapted_scale(layout: KeypointLayout, source: Floats, initial: Floats) -> float:
    """Return how much larger the motion is on `source` (D,) than on the driving frame `initial` (D,).

    sqrt(area of the source's points) / sqrt(area of the driving ones), the areas of their convex hulls
    (Siarohin et al., NeurIPS 2019, the published `normalize_kp` with `adapt_movement_scale`). Raises
    RequestError where the driving points have no area.
    """
    import cv2

    ours, theirs = (
        cv2.contourArea(cv2.convexHull(points)) if len(points) else 0.0
        for points in (layout.positions(frame).astype(np.float32) for frame in (source, initial))
    )
    if theirs <= 0:
        raise RequestError(
            "The keypoints of the first driving frame cover no area; leave out --adapt-scale, or start later."
        )
    return float(np.sqrt(ours) / np.sqrt(theirs))


def _keypoints(
    job: Job, filler: Filler | None, batch: Pictures, number: int
) -> tuple[Floats, Sequence[Kind]]:
    """Return the keypoints (B, D) of frames `number` onwards, detected or forecast, and which they are."""
    if filler is None or job.schedule is None:
        return job.backbone.detect(batch), [Kind.OBSERVED] * len(batch)
    shipped = [index for index in range(len(batch)) if job.schedule.ships(number + index)]
    found = dict(zip(shipped, job.backbone.detect(batch[shipped]), strict=True)) if shipped else {}
    rows: list[Floats] = []
    kinds: list[Kind] = []
    for index in range(len(batch)):
        if index in found:
            filler.observe({number + index: found[index]})
        filled = filler.fill(number + index)
        # The first frame of a schedule is always shipped, so that there is always something to go on.
        assert filled is not None
        rows.append(filled.keypoints)
        kinds.append(filled.kind)
    return np.stack(rows), kinds
