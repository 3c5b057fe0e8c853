"""Which triangle is seen at each pixel: a depth buffer, in NumPy.

Triangles are taken in groups of about one size; all of a group are tried on all pixels of their boxes at
once. That is fast where triangles are small, a few pixels each, as those of a finely meshed head are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.portrait.arrays import Array

Indices = npt.NDArray[np.int64]
_GROUPS = (1, 2, 3, 4, 6, 9, 14, 24, 48, 96, 200, 1024)


@dataclass(frozen=True)
class Fragments:
    """Pixels that triangles cover: `pixel` (N,) in rows of `size`, `face` (N,), `weight` (N, 3), `depth` (N,)."""

    pixel: Indices
    face: Indices
    weight: Array
    depth: Array

    def take(self, chosen: npt.NDArray[np.bool_] | Indices) -> Fragments:
        """Return the chosen ones."""
        return Fragments(self.pixel[chosen], self.face[chosen], self.weight[chosen], self.depth[chosen])


def cover(corners: Array, size: int, both_sides: npt.NDArray[np.bool_]) -> Fragments:
    """Return all pixels whose centres lie in the triangles `corners` (F, 3, 3): x, y in pixels, and nearness.

    A triangle counts where its corners run clockwise in the picture (y down), or `both_sides` (F,) is set.
    """
    edges = corners[:, [1, 2, 0], :2] - corners[..., :2]
    area = edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]
    low = np.ceil(np.clip(corners[..., :2].min(1) - 0.5, 0, size)).astype(np.int64)
    high = np.floor(np.clip(corners[..., :2].max(1) - 0.5, -1, size - 1)).astype(np.int64)
    extent = (high - low + 1).min(1), (high - low + 1).max(1)
    seen = (extent[0] > 0) & ((area > 1e-6) | (both_sides & (area < -1e-6)))
    parts, below = [], 0
    for width in _GROUPS:
        chosen = np.flatnonzero(seen & (extent[1] > below) & (extent[1] <= width))
        below = width
        if len(chosen):
            parts.append(_cover_group(corners, edges, area, low, chosen, width, size))
    if not parts:
        empty = np.zeros(0, np.int64)
        return Fragments(empty, empty, np.zeros((0, 3), np.float32), np.zeros(0, np.float32))
    return Fragments(
        *(np.concatenate([getattr(p, name) for p in parts]) for name in ("pixel", "face", "weight", "depth"))
    )


def _cover_group(  # noqa: PLR0917
    corners: Array, edges: Array, area: Array, low: Indices, chosen: Indices, width: int, size: int
) -> Fragments:
    """Return the fragments of the triangles `chosen`, all at most `width` pixels high and wide."""
    first, corner, edge = low[chosen], corners[chosen], edges[chosen]
    line = np.arange(width, dtype=np.float32) + 0.5
    inverse = 1 / area[chosen]
    weights = []
    for i in range(3):
        # Twice the area of (pixel, corner i, corner i + 1): the weight of the third corner.
        x = first[:, 0, None] + line - corner[:, i, 0, None]
        y = first[:, 1, None] + line - corner[:, i, 1, None]
        along_y = (edge[:, i, 0] * inverse)[:, None] * y
        along_x = (edge[:, i, 1] * inverse)[:, None] * x
        weights.append(along_y[:, :, None] - along_x[:, None, :])
    inside = (weights[0] >= 0) & (weights[1] >= 0) & (weights[2] >= 0)
    triangle, row, column = np.nonzero(inside)
    row, column = row + first[triangle, 1], column + first[triangle, 0]
    kept = (row < size) & (column < size)
    triangle, row, column = triangle[kept], row[kept], column[kept]
    weight = np.stack([weights[i][inside][kept] for i in (1, 2, 0)], axis=-1).astype(np.float32)
    depth = np.einsum("nc,nc->n", weight, corner[triangle, :, 2])
    return Fragments(row * size + column, chosen[triangle], weight, depth.astype(np.float32))


def nearest(fragments: Fragments, size: int) -> Fragments:
    """Return for each covered pixel the fragment that is nearest to the viewer."""
    front = np.full(size * size, -np.inf, np.float32)
    np.maximum.at(front, fragments.pixel, fragments.depth)
    won = np.flatnonzero(fragments.depth == front[fragments.pixel])
    owner = np.full(size * size, -1, np.int64)
    owner[fragments.pixel[won]] = won
    return fragments.take(owner[owner >= 0])
