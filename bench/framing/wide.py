"""Camera frames made of square clips: the person small in a wide room, where and how large is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from shared.keypoints import Pictures

WIDTH, HEIGHT = 1280, 720
_ROOM = 12
_FEATHER = 0.12


@dataclass(frozen=True)
class Placed:
    """Position of a square picture in the wide one: left, top and side, in its pixels."""

    left: float
    top: float
    side: float


def room(seed: int, width: int = WIDTH, height: int = HEIGHT) -> Pictures:
    """Return a picture (H, W, 3), uint8 RGB, of nothing: shades, boxes and a little grain."""
    random = np.random.default_rng(seed)
    tint = random.uniform(60, 190, 3)
    shades = tint + random.normal(0, 28, (_ROOM * height // width, _ROOM, 1)) + random.normal(0, 8, 3)
    small = Image.fromarray(np.clip(shades, 0, 255).astype(np.uint8))
    wall = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), np.float32).copy()
    for _ in range(9):
        x, y = random.uniform(0, width), random.uniform(0, height)
        a, b = random.uniform(20, width / 6), random.uniform(20, height / 3)
        part = wall[max(0, int(y - b)) : int(y + b), max(0, int(x - a)) : int(x + a)]
        part += random.uniform(0.2, 0.9) * (random.uniform(20, 230, 3).astype(np.float32) - part)
    return np.clip(wall + random.normal(0, 3, wall.shape), 0, 255).astype(np.uint8)


def widened(picture: Pictures, background: Pictures, place: Placed) -> Pictures:
    """Return `background` (H, W, 3) with `picture` (S, S, 3) at `place`, its sides and top fading out.

    Below the picture its lowest row goes on to the floor, so that nobody ends in mid air.
    """
    wide = background.copy()
    height, width = wide.shape[:2]
    side = round(place.side)
    part = np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC), np.float32)
    left, top = round(place.left), round(place.top)
    below = max(0, height - top - side)
    part = np.concatenate([part, np.repeat(part[-1:], below, 0)])
    weight = np.concatenate([_fading(side), np.repeat(_fading(side)[-1:], below, 0)])[..., None]
    rows, columns = (
        slice(max(top, 0), min(top + len(part), height)),
        slice(max(left, 0), min(left + side, width)),
    )
    inner = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
    there = wide[rows, columns].astype(np.float32)
    wide[rows, columns] = np.rint(there + weight[inner] * (part[inner] - there)).astype(np.uint8)
    return wide


def _fading(side: int) -> npt.NDArray[np.float32]:
    """Return how much of the picture shows (S, S), 0 to 1: all but for its left, right and upper edge."""
    edge = max(1.0, _FEATHER * side)
    away = np.arange(side, dtype=np.float32)
    across = np.minimum(np.minimum(away, away[::-1]) / edge, 1)
    down = np.minimum(away / edge, 1)
    shown: npt.NDArray[np.float32] = across[None] * down[:, None]
    return shown
