"""Camera model for a finely drawn picture: smaller, a little soft, with grain and its own colours."""

from __future__ import annotations

from functools import cache

import numpy as np

from shared.constants import SIZE
from shared.keypoints import Pictures
from shared.portrait.arrays import Array, blur_colours
from shared.portrait.looks import View

_GREY = np.array([0.30, 0.59, 0.11], np.float32)


def fine_side(size: int) -> int:
    """Return the side of what `develop` makes a picture of `size` pixels of: drawn finer, then averaged."""
    if size < 2 or size % 2:
        raise ValueError(f"a picture of {size} pixels a side cannot be drawn, only of an even number")
    return size * 3 // 2


@cache
def _grains(size: int) -> Array:
    """Return twice as much grain, of unit spread, as a picture of `size` has numbers."""
    grains = np.random.default_rng(0).standard_normal(2 * 3 * size * size, np.float32)
    grains.setflags(write=False)
    return grains


def develop(canvas: Array, view: View, number: int) -> Pictures:
    """Return the picture (S, S, 3), uint8, of one half again as fine, in [0, 1].

    The grain is that of `number`.
    """
    picture = _fewer_columns(_fewer_rows(canvas))
    if view.blur:
        picture = blur_colours(picture, view.blur * len(picture) / SIZE)
    if view.saturation != 1:
        grey = np.asarray(picture @ _GREY, np.float32)[..., None]
        picture = grey + np.float32(view.saturation) * (picture - grey)
    if view.contrast != 1:
        picture = np.float32(0.5) + np.float32(view.contrast) * (picture - np.float32(0.5))
    if view.tint != (1, 1, 1):
        picture *= np.asarray(view.tint, np.float32)
    if view.noise:
        start = number % picture.size
        picture += np.float32(view.noise) * _grains(len(picture))[start : start + picture.size].reshape(
            picture.shape
        )
    drawn: Pictures = np.clip(picture * np.float32(255) + np.float32(0.5), 0, 255).astype(np.uint8)
    return drawn


def _fewer_rows(canvas: Array) -> Array:
    """Average three rows to two."""
    middle = canvas[1::3] / 3
    out = np.empty((len(canvas) * 2 // 3, *canvas.shape[1:]), np.float32)
    np.add(canvas[0::3] * np.float32(2 / 3), middle, out=out[0::2])
    np.add(canvas[2::3] * np.float32(2 / 3), middle, out=out[1::2])
    return out


def _fewer_columns(canvas: Array) -> Array:
    """Average three columns to two."""
    middle = canvas[:, 1::3] / 3
    out = np.empty((len(canvas), canvas.shape[1] * 2 // 3, 3), np.float32)
    np.add(canvas[:, 0::3] * np.float32(2 / 3), middle, out=out[:, 0::2])
    np.add(canvas[:, 2::3] * np.float32(2 / 3), middle, out=out[:, 1::2])
    return out
