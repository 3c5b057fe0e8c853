"""What a camera makes of a finely drawn picture: smaller, a little soft, with grain and its own colours."""

from __future__ import annotations

import numpy as np

from shared.config import SIZE
from shared.keypoints import Pictures
from shared.portrait.arrays import Array, blur
from shared.portrait.looks import View

_GREY = np.array([0.30, 0.59, 0.11], np.float32)


def develop(canvas: Array, view: View, grain: np.random.Generator) -> Pictures:
    """Return the picture (256, 256, 3), uint8, of a fine one (384, 384, 3) in [0, 1]."""
    picture = _smaller(_smaller(canvas).transpose(1, 0, 2)).transpose(1, 0, 2)
    if view.blur:
        picture = np.stack([blur(picture[..., i], view.blur) for i in range(3)], -1)
    if view.saturation != 1:
        grey = (picture @ _GREY)[..., None]
        picture = grey + np.float32(view.saturation) * (picture - grey)
    if view.contrast != 1:
        picture = 0.5 + np.float32(view.contrast) * (picture - 0.5)
    picture = picture * np.asarray(view.tint, np.float32)
    if view.noise:
        picture = picture + np.float32(view.noise) * grain.standard_normal(picture.shape, np.float32)
    drawn: Pictures = np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)
    return drawn


def _smaller(canvas: Array) -> Array:
    """Average three rows to two."""
    a, b, c = canvas[0::3], canvas[1::3], canvas[2::3]
    out = np.empty((SIZE, *canvas.shape[1:]), np.float32)
    out[0::2] = (2 * a + b) / 3
    out[1::2] = (b + 2 * c) / 3
    return out
