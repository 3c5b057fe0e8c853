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
from shared.errors import RequestError
from shared.hulls import area
from shared.interfaces import Backbone, Forecaster, Transfer
from shared.keypoints import Floats, KeypointLayout, Pictures
from shared.keypoints import Kind as Meaning

Mode = Literal["transfer", "reconstruction"]
BATCH = 12
_FEWEST_POINTS, _MIN_AREA = 3, 1e-6


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
    anchor: int | None = 0
    """Transfer alone: the driving frame that motion is relative to; None: the one most like the source."""
    turn: Callable[[Floats], Floats] | None = None
    """Takes the driver's keypoints (T, D), and returns them with the head held otherwise."""


def animate(job: Job, picture: Pictures, frames: Iterator[Pictures]) -> Iterator[Pictures]:
    """Move `picture` (256, 256, 3) as `frames` move: one picture (256, 256, 3) for each.

    With a forecaster, only the frames that the schedule ships are detected; the others are filled in exactly
    as a receiver does it. Where motion is relative to another frame than the first, all are detected before
    one is drawn; then 4 bytes a number are kept of each. RequestError where there is no such frame.
    """
    backbone = job.backbone
    source = backbone.encode(picture)
    found = _detected(job, frames)
    initial: Floats | None = None
    if job.mode == "transfer" and job.anchor != 0:
        all_found = list(found)
        initial = _anchor(job, source.keypoints, all_found)
        found = iter(all_found)
    move: Transfer | None = None
    for points, kinds in found:
        if job.mode == "transfer" and move is None:
            since = points[0] if initial is None else initial
            move = backbone.transfer(source, since, adapt_scale=job.adapt_scale)
        turned = points if job.turn is None else job.turn(points)
        if move is not None:
            turned = move(turned)
        for drawn, kind in zip(backbone.render(source, turned), kinds, strict=True):
            yield mark(drawn, kind.value) if job.mark and kind is not Kind.OBSERVED else drawn


def _detected(job: Job, frames: Iterator[Pictures]) -> Iterator[tuple[Floats, Sequence[Kind]]]:
    concealer = Concealer(job.forecaster, job.backbone.layout) if job.forecaster is not None else None
    number = 0
    while batch := list(islice(frames, BATCH)):
        yield _keypoints(job, concealer, np.stack(batch), number)
        number += len(batch)


def _anchor(job: Job, source: Floats, found: Sequence[tuple[Floats, Sequence[Kind]]]) -> Floats:
    """Return the keypoints (D,) of the driving frame that motion is relative to."""
    points = np.concatenate([points for points, _ in found])
    if job.anchor is not None:
        if job.anchor >= len(points):
            raise RequestError(
                f"The driving video has {len(points)} frames, so there is no frame {job.anchor}; give an "
                "earlier --anchor."
            )
        return np.asarray(points[job.anchor])
    seen = np.array([kind is Kind.OBSERVED for _, kinds in found for kind in kinds])
    return np.asarray(points[seen][most_alike(job.backbone.layout, source, points[seen])])


def most_alike(layout: KeypointLayout, source: Floats, frames: Floats) -> int:
    """Return which of `frames` (T, D) is most like `source` (D,) in pose, wherever and how large the face is.

    Siarohin et al. (2019, the published `find_best_frame`) compare so by landmarks: relative to their middle,
    in units of the root of their hull's area. Here the keypoints are, and their Jacobians in the same units.
    """
    return int(
        np.argmin(layout.distance(_placed_alike(layout, frames), _placed_alike(layout, source[None])[0]))
    )


def _placed_alike(layout: KeypointLayout, frames: Floats) -> Floats:
    alike = np.array(frames, np.float32)
    places = layout.positions(frames)
    if places.shape[1] < _FEWEST_POINTS:
        return alike
    sizes = np.sqrt([max(area(points), _MIN_AREA) for points in places])[:, None]
    middles = np.tile(places.mean(1), (1, layout.dimensions))
    for group, part in layout.parts():
        if group.kind is Meaning.POINTS:
            alike[:, part] = (alike[:, part] - middles[:, : group.dimensions]) / sizes
        elif group.kind is Meaning.JACOBIANS:
            alike[:, part] /= sizes
    return alike


def _keypoints(
    job: Job, concealer: Concealer | None, batch: Pictures, number: int
) -> tuple[Floats, Sequence[Kind]]:
    """Return the keypoints (B, D) of frames `number` onwards, detected or forecast, and which they are."""
    if concealer is None or job.schedule is None:
        return job.backbone.detect(batch), [Kind.OBSERVED] * len(batch)
    shipped = [index for index in range(len(batch)) if job.schedule.ships(number + index)]
    found = dict(zip(shipped, job.backbone.detect(batch[shipped]), strict=True)) if shipped else {}
    rows: list[Floats] = []
    kinds: list[Kind] = []
    for index in range(len(batch)):
        if index in found:
            concealer.observe({number + index: found[index]})
        filled = concealer.fill(number + index)
        # The first frame of a schedule is always shipped, so that there is always something to go on.
        assert filled is not None
        rows.append(filled.keypoints)
        kinds.append(filled.kind)
    return np.stack(rows), kinds
