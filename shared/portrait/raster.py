"""Which triangle is seen at each pixel: a depth buffer, in NumPy.

Triangles are cut into the rows that they cross, rows into the pixels between their ends; all triangles, rows
and pixels at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.portrait.arrays import Array

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fragments:
    """Pixels that triangles cover: `pixel` (N,), counted by rows, `face` (N,), `weight` (3, N), `depth` (N,)."""

    pixel: Indices
    face: Indices
    weight: Array
    depth: Array

    def take(self, chosen: npt.NDArray[np.bool_] | Indices) -> Fragments:
        """Return the chosen ones."""
        return Fragments(
            self.pixel[chosen], self.face[chosen], self.weight[:, chosen], self.depth[chosen]
        )

    def blend(self, corners: Array) -> Array:
        """Return what has the values `corners` (F, 3, ...) at the corners, at the fragments: (N, ...)."""
        at = corners[self.face]
        w = self.weight.reshape(3, -1, *[1] * (at.ndim - 2))
        blended: Array = at[:, 0] * w[0] + at[:, 1] * w[1] + at[:, 2] * w[2]
        return blended


def cover(corners: Array, size: int, both_sides: npt.NDArray[np.bool_]) -> Fragments:
    """Return all pixels whose centres lie in the triangles `corners` (F, 3, 3): x, y in pixels, and nearness.

    A triangle counts where its corners run clockwise in the picture (y down), or `both_sides` (F,) is set.
    """
    (x0, y0, z0), (x1, y1, z1), (x2, y2, z2) = np.ascontiguousarray(corners.transpose(1, 2, 0))
    area = (x1 - x0) * (y2 - y1) - (y1 - y0) * (x2 - x1)
    top = np.ceil(np.minimum(np.minimum(y0, y1), y2) - np.float32(0.5)).clip(0, size)
    bottom = np.floor(np.maximum(np.maximum(y0, y1), y2) - np.float32(0.5)).clip(-1, size - 1)
    chosen = np.flatnonzero((bottom >= top) & ((area > 1e-6) | (both_sides & (area < -1e-6))))
    first_row = top[chosen].astype(np.int64)
    which, row = _spread(first_row, bottom[chosen].astype(np.int64) - first_row + 1)
    # The weight of a corner falls by `slope` a pixel along a row, from `start` at x = 0; the third is what is
    # left of 1. Where all are positive is inside.
    scale = 1 / area[chosen]
    centre = row + np.float32(0.5)
    edges = []
    for (ax, ay), (bx, by) in (((x1, y1), (x2, y2)), ((x2, y2), (x0, y0))):
        ax, ay, bx, by = ax[chosen], ay[chosen], bx[chosen], by[chosen]
        slope, across = (by - ay) * scale, (bx - ax) * scale
        edges.append((slope[which], (across[which] * centre + (slope * ax - across * ay)[which])))
    edges.append((-edges[0][0] - edges[1][0], 1 - edges[0][1] - edges[1][1]))
    left, right = np.full(len(row), -1, np.float32), np.full(len(row), size, np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        for slope, start in edges:
            end = start / slope
            np.copyto(left, np.fmax(left, end), where=slope < 0)
            np.copyto(right, np.fmin(right, end), where=slope > 0)
    first = np.ceil(left - np.float32(0.5)).clip(0, size).astype(np.int64)
    last = np.floor(right - np.float32(0.5)).clip(-1, size - 1).astype(np.int64)
    line, column = _spread(first, np.maximum(last - first + 1, 0))
    at = column + np.float32(0.5)
    (slope, start), (slope_b, start_b) = edges[:2]
    first_weight, second = start[line] - slope[line] * at, start_b[line] - slope_b[line] * at
    weight = np.stack([first_weight, second, 1 - first_weight - second]).astype(np.float32)
    face = chosen[which[line]]
    depth = z0[face] * weight[0] + z1[face] * weight[1] + z2[face] * weight[2]
    return Fragments(row[line] * size + column, face, weight, depth)


def _spread(first: Indices, count: Indices) -> tuple[Indices, Indices]:
    """Return for each place the numbers from `first` on, `count` of them: the places' indices, the numbers."""
    total = np.cumsum(count)
    place = np.repeat(np.arange(len(count)), count)
    return place, np.arange(len(place)) + (first - total + count)[place]


def nearest(fragments: Fragments, size: int) -> Fragments:
    """Return for each covered pixel the fragment that is nearest to the viewer."""
    front = np.full(size * size, -np.inf, np.float32)
    np.maximum.at(front, fragments.pixel, fragments.depth)
    won = np.flatnonzero(fragments.depth == front[fragments.pixel])
    owner = np.full(size * size, -1, np.int64)
    owner[fragments.pixel[won]] = won
    return fragments.take(owner[owner >= 0])
