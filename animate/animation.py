"""Offline animation of a picture by the keypoints of a video, all detected or some forecast."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np

from bench.harness.media import mark
from shared.concealment import Concealer, Kind
from shared.constants import Schedule
from shared.interfaces import Backbone, Forecaster, Transfer
from shared.keypoints import Floats, Pictures

Mode = Literal["transfer", "reconstruction"]
BATCH = 12


@dataclass(frozen=True)
class Job:
    """A job to animate: `schedule` is None where every frame's own keypoints are used."""

    backbone: Backbone
    mode: Mode
    forecaster: Forecaster | None = None
    schedule: Schedule | None = None
    adapt_scale: bool = False
    """Transfer alone: scale the motion by the sizes of the two faces."""
    mark: bool = False
    """Say in the picture which frames were forecast."""
    turn: Callable[[Floats], Floats] | None = None
    """Takes the driver's keypoints (T, D), and returns them with the head held otherwise."""


def animate(job: Job, picture: Pictures, frames: Iterator[Pictures]) -> Iterator[Pictures]:
    """Move `picture` (256, 256, 3) as `frames` move: one picture (256, 256, 3) for each.

    With a forecaster, only the frames that the schedule ships are detected; the others are filled in exactly
    as a receiver does it.
    """
    backbone = job.backbone
    source = backbone.encode(picture)
    filler = Concealer(job.forecaster, backbone.layout) if job.forecaster is not None else None
    move: Transfer | None = None
    number = 0
    while batch := list(islice(frames, BATCH)):
        points, kinds = _keypoints(job, filler, np.stack(batch), number)
        if job.mode == "transfer" and move is None:
            move = backbone.transfer(source, points[0], adapt_scale=job.adapt_scale)
        number += len(batch)
        if job.turn is not None:
            points = job.turn(points)
        if move is not None:
            points = move(points)
        for drawn, kind in zip(backbone.render(source, points), kinds, strict=True):
            yield mark(drawn, kind.value) if job.mark and kind is not Kind.OBSERVED else drawn


def _keypoints(
    job: Job, filler: Concealer | None, batch: Pictures, number: int
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
