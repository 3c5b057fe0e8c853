"""A head found in a picture: the type shared by head finders and the code that follows heads."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from shared.keypoints import Pictures


@dataclass(frozen=True)
class Head:
    """A face from brow to chin: its centre and size in pixels of the picture, and how sure it is, 0 to 1.

    `size` is the geometric mean of width and height, which turning the head changes less than either.
    """

    x: float
    y: float
    size: float
    score: float = 1.0

    def __post_init__(self) -> None:
        if not (all(map(math.isfinite, (self.x, self.y, self.score))) and 0 < self.size < math.inf):
            raise ValueError(f"{self} is no place in a picture")


HeadFinder: TypeAlias = Callable[[Pictures], list[Head]]
"""Takes a picture (H, W, 3), uint8 RGB, of any size; returns the heads in it, the surest first."""
