"""A few words on the picture, small and at its lower edge."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from shared.keypoints import Pictures

_FONT_PIXELS = 11
_MARGIN = 5
_BACKDROP = 0.45
"""Share of the picture left behind the words."""
_INK = 225


def with_note(picture: Pictures, note: str) -> Pictures:
    """Return a copy of `picture` (H, W, 3) uint8 with `note` on a darkened strip at its lower edge."""
    ink = _ink(note, picture.shape[1])
    noted = picture.copy()
    strip = noted[-len(ink) :].astype(np.float32) * _BACKDROP
    noted[-len(ink) :] = np.rint(strip + ink * (_INK - strip)).astype(np.uint8)
    return noted


@lru_cache(maxsize=8)
def _ink(note: str, width: int) -> npt.NDArray[np.float32]:
    """Return how much of each pixel of the strip (H, width, 1) the words cover, in [0, 1]."""
    font = ImageFont.load_default(_FONT_PIXELS)
    strip = Image.new("L", (width, _FONT_PIXELS + 2 * _MARGIN))
    middle = width / 2, _FONT_PIXELS / 2 + _MARGIN
    ImageDraw.Draw(strip).text(middle, note, fill=255, font=font, anchor="mm")
    covered: npt.NDArray[np.float32] = np.asarray(strip, np.float32)[:, :, None] / np.float32(255)
    return covered
