"""Squares cut out of a picture, turned upright, and the way back from them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from shared.keypoints import Floats, Pictures

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Box:
    """A square: its centre and side in pixels of the picture; `angle`, in radians, turns it clockwise."""

    x: float
    y: float
    side: float
    angle: float = 0.0

    @classmethod
    def around(cls, points: Doubles, line: Doubles, scale: float) -> Box:
        """Return the square around `points` (N, 2), `scale` times as large, whose upper side is along `line`.

        `line` (2, 2) goes from left to right. Side and centre are those of the points' upright bounding box,
        as MediaPipe takes them.
        """
        low, high = points.min(0), points.max(0)
        (x, y), (dx, dy) = (low + high) / 2, line[1] - line[0]
        return cls(float(x), float(y), scale * float((high - low).max()), math.atan2(dy, dx))

    def moved(self, other: Box) -> float:
        """Return how far `other` is off, in place or size, over the size of this one."""
        return max(math.hypot(other.x - self.x, other.y - self.y), abs(other.side - self.side)) / self.side


@dataclass(frozen=True, eq=False)
class Cut:
    """Contents of a box, `pixels` (1, size, size, 3) in [0, 1]; `back` maps its pixels to the picture's."""

    pixels: Floats
    turn: Doubles
    origin: Doubles

    def back(self, points: Floats) -> Doubles:
        """Map `points` (N, 3), x, y and depth in pixels of the crop, to pixels of the picture."""
        flat = points[:, :2] @ self.turn.T + self.origin
        depth = points[:, 2:] * math.sqrt(abs(float(np.linalg.det(self.turn))))
        return np.concatenate([flat, depth], 1)


def cut(picture: Pictures, box: Box, size: int, *, mirrored: bool = False) -> Cut:
    """Cut `box` out of `picture` (H, W, 3), uint8 RGB, bilinearly; outside, the picture's border repeats."""
    scale = max(box.side, 1.0) / size
    turn = scale * np.array(
        [[math.cos(box.angle), -math.sin(box.angle)], [math.sin(box.angle), math.cos(box.angle)]]
    )
    turn = turn @ np.diag([-1.0, 1.0]) if mirrored else turn
    origin = np.array([box.x, box.y]) - turn @ [size / 2, size / 2]
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]]) @ turn.T + origin
    part, start = _surroundings(picture, corners)
    (a, b), (c, d) = turn
    e, f = origin - start
    image = Image.fromarray(part).transform(
        (size, size), Image.Transform.AFFINE, (a, b, e, c, d, f), Image.Resampling.BILINEAR
    )
    pixels: Floats = np.asarray(image, np.float32)[None] / np.float32(255)
    return Cut(pixels, turn, origin)


def _surroundings(picture: Pictures, corners: Doubles) -> tuple[Pictures, Doubles]:
    """Return the part of `picture` around `corners`, its border repeated outside, and where it begins."""
    height, width = picture.shape[:2]
    low, high = np.floor(corners.min(0)).astype(int) - 2, np.ceil(corners.max(0)).astype(int) + 2
    columns = np.clip(np.arange(low[0], high[0]), 0, width - 1)
    rows = np.clip(np.arange(low[1], high[1]), 0, height - 1)
    return picture[rows[:, None], columns], low.astype(np.float64)
