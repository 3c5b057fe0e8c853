"""Rasteriser in NumPy: the visible triangle at each pixel, by a depth buffer.

Triangles are cut into the lines of the picture that they cross, and lines into the pixels between their ends,
all triangles and all lines at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.portrait.arrays import Array

Indices = npt.NDArray[np.int64]
_HALF = np.float32(0.5)


@dataclass(frozen=True, eq=False)
class Fragments:
    """Pixels of triangles: `pixel` (N,), counted by rows, `face` (N,), and the corners' `weight` (3, N)."""

    pixel: Indices
    face: Indices
    weight: Array

    def part(self, part: slice | Indices) -> Fragments:
        """Return some of them."""
        return Fragments(self.pixel[part], self.face[part], self.weight[:, part])

    def blend(self, values: Array, faces: Indices, first: int = 0) -> Array:
        """Return (C, N): what `values` (V, C) at the vertices are at the fragments, between the corners.

        The triangles `faces` (F, 3) are numbered from `first` on.
        """
        corner = faces.T[:, self.face - first]
        at = [np.take(values, corner[i], axis=0).T * self.weight[i] for i in range(3)]
        blended: Array = at[0] + at[1] + at[2]
        return blended


@dataclass(frozen=True, eq=False)
class Lines:
    """Coverage of the picture's lines by triangles, and all of their pixels.

    Of each line (L,): its triangle, its row, and the weights of the triangle's first two corners at x = 0 and
    how much they fall a pixel, `start` and `slope` (2, L). Of each pixel (N,): its line, its column and how
    near it is to the viewer.
    """

    face: Indices
    row: Indices
    start: Array
    slope: Array
    line: Indices
    column: Indices
    near: Array
    size: int

    def pixels(self) -> Indices:
        """Return the pixels' numbers (N,), counted by rows."""
        return np.take(self.row * self.size, self.line) + self.column

    def fragments(self, chosen: Indices) -> Fragments:
        """Return the chosen pixels."""
        line, column = self.line[chosen], self.column[chosen]
        at = column + _HALF
        a, b = (np.take(self.start[i], line) - np.take(self.slope[i], line) * at for i in range(2))
        pixel = self.row[line] * self.size + column
        return Fragments(pixel, self.face[line], np.stack([a, b, 1 - a - b]).astype(np.float32))

    def nearest(self, kept: npt.NDArray[np.bool_] | None = None) -> Indices:
        """Return for each covered pixel which of its fragments, of those `kept`, is nearest to the viewer."""
        near = self.near if kept is None else np.where(kept, self.near, -np.inf).astype(np.float32)
        pixel = self.pixels()
        front = np.full(self.size * self.size, -np.inf, np.float32)
        np.maximum.at(front, pixel, near)
        won = np.flatnonzero((near == front[pixel]) & (near > -np.inf))
        owner = np.full(self.size * self.size, -1, np.int64)
        owner[pixel[won]] = won
        return owner[owner >= 0]


def cover(corners: Array, size: int, both_sides: npt.NDArray[np.bool_]) -> Lines:
    """Return all pixels whose centres lie in the triangles `corners` (F, 3, 3): x, y in pixels, and nearness.

    A triangle counts where its corners run clockwise in the picture (y down), or `both_sides` (F,) is set.
    """
    (x0, y0, z0), (x1, y1, z1), (x2, y2, z2) = np.ascontiguousarray(corners.transpose(1, 2, 0))
    area = (x1 - x0) * (y2 - y1) - (y1 - y0) * (x2 - x1)
    top = np.ceil(np.minimum(np.minimum(y0, y1), y2) - _HALF).clip(0, size)
    bottom = np.floor(np.maximum(np.maximum(y0, y1), y2) - _HALF).clip(-1, size - 1)
    chosen = np.flatnonzero((bottom >= top) & ((area > 1e-6) | (both_sides & (area < -1e-6))))
    first_row = top[chosen].astype(np.int64)
    which, row = _spread(first_row, bottom[chosen].astype(np.int64) - first_row + 1)
    scale = 1 / area[chosen]
    slopes, acrosses, starts = [], [], []
    for ends in ((x1, y1, x2, y2), (x2, y2, x0, y0)):
        ax, ay, bx, by = (end[chosen] for end in ends)
        slope, across = (by - ay) * scale, (bx - ax) * scale
        slopes.append(slope)
        acrosses.append(across)
        starts.append(slope * ax - across * ay)
    slope, across, start = (
        np.stack([np.take(p, which) for p in part]) for part in (slopes, acrosses, starts)
    )
    start += across * (row + _HALF)
    first, last = _ends(start, slope, size)
    line, column = _spread(first, np.maximum(last - first + 1, 0))
    face = chosen[which]
    deep, deeper = np.take(z0 - z2, face), np.take(z1 - z2, face)
    near = np.take(z2[face] + start[0] * deep + start[1] * deeper, line)
    near -= np.take(slope[0] * deep + slope[1] * deeper, line) * (column + _HALF)
    return Lines(face, row, start, slope, line, column, near.astype(np.float32), size)


def _ends(start: Array, slope: Array, size: int) -> tuple[Indices, Indices]:
    """Return the first and the last column of each line: where all three weights are positive."""
    left, right = np.full(start.shape[1], -1, np.float32), np.full(start.shape[1], size, np.float32)
    third = (-slope[0] - slope[1], 1 - start[0] - start[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        for falls, begins in ((slope[0], start[0]), (slope[1], start[1]), third):
            end = begins / falls
            np.fmax(left, end, out=left, where=falls < 0)
            np.fmin(right, end, out=right, where=falls > 0)
    return (
        np.ceil(left - _HALF).clip(0, size).astype(np.int64),
        np.floor(right - _HALF).clip(-1, size - 1).astype(np.int64),
    )


def _spread(first: Indices, count: Indices) -> tuple[Indices, Indices]:
    """Return for each place `count` numbers from `first` on: the places' indices, and the numbers."""
    total = np.cumsum(count)
    place = np.repeat(np.arange(len(count)), count)
    return place, np.arange(len(place)) + np.take(first - total + count, place)
