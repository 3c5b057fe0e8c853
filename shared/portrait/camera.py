"""Camera model for a finely drawn picture: smaller, a little soft, with grain and its own colours."""

from __future__ import annotations

from functools import cache

import numpy as np

from shared.constants import SIZE
from shared.keypoints import Pictures
from shared.portrait.arrays import Array, blur_colours
from shared.portrait.looks import View

# Drawn finer than the picture, then averaged.
FINE = SIZE * 3 // 2
_GREY = np.array([0.30, 0.59, 0.11], np.float32)


@cache
def _grains() -> Array:
    """Return twice as much grain, of unit spread, as a picture has numbers."""
    grains = np.random.default_rng(0).standard_normal(2 * 3 * SIZE * SIZE, np.float32)
    grains.setflags(write=False)
    return grains


def develop(canvas: Array, view: View, number: int) -> Pictures:
    """Return the picture (256, 256, 3), uint8, of a fine one (FINE, FINE, 3) in [0, 1].

    The grain is that of `number`.
    """
    picture = _fewer_columns(_fewer_rows(canvas))
    if view.blur:
        picture = blur_colours(picture, view.blur)
    if view.saturation != 1:
        grey = np.asarray(picture @ _GREY, np.float32)[..., None]
        picture = grey + np.float32(view.saturation) * (picture - grey)
    if view.contrast != 1:
        picture = np.float32(0.5) + np.float32(view.contrast) * (picture - np.float32(0.5))
    if view.tint != (1, 1, 1):
        picture *= np.asarray(view.tint, np.float32)
    if view.noise:
        start = number % picture.size
        picture += np.float32(view.noise) * _grains()[start : start + picture.size].reshape(picture.shape)
    drawn: Pictures = np.clip(picture * np.float32(255) + np.float32(0.5), 0, 255).astype(np.uint8)
    return drawn


def _fewer_rows(canvas: Array) -> Array:
    """Average three rows to two."""
    middle = canvas[1::3] / 3
    out = np.empty((SIZE, *canvas.shape[1:]), np.float32)
    np.add(canvas[0::3] * np.float32(2 / 3), middle, out=out[0::2])
    np.add(canvas[2::3] * np.float32(2 / 3), middle, out=out[1::2])
    return out


def _fewer_columns(canvas: Array) -> Array:
    """Average three columns to two."""
    middle = canvas[:, 1::3] / 3
    out = np.empty((len(canvas), SIZE, 3), np.float32)
    np.add(canvas[:, 0::3] * np.float32(2 / 3), middle, out=out[:, 0::2])
    np.add(canvas[:, 2::3] * np.float32(2 / 3), middle, out=out[:, 1::2])
    return out
