"""`animate --futures`: a grid of what may come after a moment of a clip."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from bench.harness.media import contact_sheet, mark
from shared.constants import FPS
from shared.errors import RequestError
from shared.interfaces import Backbone, Forecaster
from shared.keypoints import Floats, Pictures

MAX_FUTURES = 35
OBSERVED = 12
_SHOWN = 6


@dataclass(frozen=True)
class Fan:
    """`count` futures of `predicted` frames after the one at `at` seconds; None is the clip's middle."""

    forecaster: Forecaster
    count: int
    predicted: int
    at: float | None
    seed: int

    def __post_init__(self) -> None:
        """Raise RequestError for a number that cannot be drawn."""
        if not 1 <= self.count <= MAX_FUTURES:
            raise RequestError(
                f"{self.count} futures cannot be drawn; give --futures from 1 to {MAX_FUTURES}."
            )
        if self.predicted < 1:
            raise RequestError(f"A future cannot be {self.predicted} frames long; give --predict 1 or more.")


@dataclass(frozen=True)
class Drawn:
    """`past` (P, 256, 256, 3) as drawn from true keypoints, `futures` (N, T, 256, 256, 3) after it.

    `truth` (T', 256, 256, 3), T' <= T, as drawn from what followed.
    """

    past: Pictures
    truth: Pictures
    futures: Pictures


def draw(fan: Fan, backbone: Backbone, picture: Pictures, keypoints: Floats, transfer: bool) -> Drawn:
    """Draw the past, the truth and the futures of a clip whose `keypoints` (T, D) are known, on `picture`.

    RequestError where the moment is outside of the clip, or the forecaster draws one future only.
    """
    moment = (len(keypoints) - 1) // 2 if fan.at is None else round(fan.at * FPS)
    if not 0 <= moment < len(keypoints):
        raise RequestError(
            f"The clip lasts {len(keypoints) / FPS:.2f} s; give --at within it, not {fan.at} s."
        )
    past = keypoints[max(0, moment + 1 - OBSERVED) : moment + 1]
    fan.forecaster.reset()
    fan.forecaster.observe(past)
    futures = fan.forecaster.sample(fan.count, fan.predicted, fan.seed)
    if fan.count > 1 and np.ptp(futures, axis=0).max() < 1e-6:
        raise RequestError(
            f"{fan.forecaster.name} predicts only one future; use --forecaster gru-nf or vrnn."
        )
    source = backbone.encode(picture)
    move = backbone.transfer(source, keypoints[0]) if transfer else None

    def render(points: Floats) -> Pictures:
        return backbone.render(source, points if move is None else move(points))

    truth = keypoints[moment + 1 : moment + 1 + fan.predicted]
    return Drawn(
        render(past), render(truth) if len(truth) else np.empty((0, *picture.shape), np.uint8),
        np.stack([render(future) for future in futures]),
    )  # fmt: skip


def grid(drawn: Drawn) -> Iterator[Pictures]:
    """Give the frames of a film: all tiles show the past, then the truth's and one each of the futures.

    Tiles are 256 pixels wide while there are up to nine, else 128; where the clip ends, the truth's stands.
    """
    tiles = len(drawn.futures) + 1
    across = math.ceil(math.sqrt(tiles))
    size = 256 if tiles <= 10 else 128
    for picture in drawn.past:
        yield _tiled([mark(picture, "observed")] * tiles, across, size)
    last = drawn.past[-1]
    for step in range(drawn.futures.shape[1]):
        last = drawn.truth[step] if step < len(drawn.truth) else last
        futures = [mark(future[step], f"future {n + 1}") for n, future in enumerate(drawn.futures)]
        yield _tiled([mark(last, "truth"), *futures], across, size)


def sheet(drawn: Drawn) -> bytes:
    """Return a PNG of some moments: the truth's row, then a row a future."""
    moments = np.unique(np.linspace(0, drawn.futures.shape[1] - 1, _SHOWN).round().astype(int))
    known = [moment for moment in moments if moment < len(drawn.truth)]
    rows = [("truth", list(drawn.truth[known])), *(
        (f"future {n + 1}", list(future[moments])) for n, future in enumerate(drawn.futures)
    )]  # fmt: skip
    return contact_sheet(rows, [f"+{moment + 1}" for moment in moments], 128)


def _tiled(pictures: list[Pictures], across: int, size: int) -> Pictures:
    down = math.ceil(len(pictures) / across)
    canvas = np.zeros((down * size, across * size, 3), np.uint8)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, across)
        small = picture if size == len(picture) else np.array(Image.fromarray(picture).resize((size, size)))
        canvas[row * size :][:size, column * size :][:, :size] = small
    return canvas
