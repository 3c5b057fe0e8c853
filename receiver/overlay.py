"""Words and small pictures on the picture: a note at its lower edge, badges and oneself in its corners."""

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
_BADGE_FONT_PIXELS = 14
_BADGE_COLOUR = (14, 17, 21, 185)
_FRAME, _FRAME_COLOUR = 2, 200


def with_note(picture: Pictures, note: str) -> Pictures:
    """Return a copy of `picture` (H, W, 3) uint8 with `note` on a darkened strip at its lower edge."""
    ink = _ink(note, picture.shape[1])
    noted = picture.copy()
    strip = noted[-len(ink) :].astype(np.float32) * _BACKDROP
    noted[-len(ink) :] = np.rint(strip + ink * (_INK - strip)).astype(np.uint8)
    return noted


def put_badge(picture: Pictures, words: str, left: int | None, right: int | None, foot: int) -> None:
    """Write `words` on a dark pill into `picture` (H, W, 3) uint8, in place.

    It begins at column `left` or ends before column `right`, and stands above row `foot`.
    """
    ink, cover = _badge(words)
    high, wide = cover.shape[:2]
    start = left if left is not None else (picture.shape[1] if right is None else right) - wide
    place = picture[foot - high : foot, start : start + wide]
    place[:] = np.rint(place + cover * (ink - place)).astype(np.uint8)


def put_mirrored(picture: Pictures, other: Pictures, right: int, top: int) -> None:
    """Put `other` (h, w, 3) as in a mirror, with a thin frame, into `picture` (H, W, 3), in place.

    It ends before column `right` and begins at row `top`.
    """
    high, wide = other.shape[:2]
    left = right - wide
    picture[top - _FRAME : top + high + _FRAME, left - _FRAME : right + _FRAME] = _FRAME_COLOUR
    picture[top : top + high, left:right] = other[:, ::-1]


@lru_cache(maxsize=8)
def _badge(words: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return colours (h, w, 3) in [0, 255] and how much of each pixel they cover (h, w, 1) in [0, 1]."""
    font = ImageFont.load_default(_BADGE_FONT_PIXELS)
    wide, high = round(font.getlength(words)) + 2 * _BADGE_FONT_PIXELS, 2 * _BADGE_FONT_PIXELS
    layer = Image.new("RGBA", (wide, high))
    draw = ImageDraw.Draw(layer)
    draw.rounded_rectangle((0, 0, wide - 1, high - 1), high // 2, fill=_BADGE_COLOUR)
    draw.text((wide / 2, high / 2), words, fill=(_INK, _INK, _INK, 255), font=font, anchor="mm")
    drawn = np.asarray(layer, np.float32)
    return drawn[..., :3], drawn[..., 3:] / np.float32(255)


@lru_cache(maxsize=8)
def _ink(note: str, width: int) -> npt.NDArray[np.float32]:
    """Return how much of each pixel of the strip (H, width, 1) the words cover, in [0, 1]."""
    font = ImageFont.load_default(_FONT_PIXELS)
    strip = Image.new("L", (width, _FONT_PIXELS + 2 * _MARGIN))
    middle = width / 2, _FONT_PIXELS / 2 + _MARGIN
    ImageDraw.Draw(strip).text(middle, note, fill=255, font=font, anchor="mm")
    covered: npt.NDArray[np.float32] = np.asarray(strip, np.float32)[:, :, None] / np.float32(255)
    return covered
