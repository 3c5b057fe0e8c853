"""Meshes over grids, the textures they carry, and the head's way into the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.portrait.arrays import Array
from shared.portrait.pose import Pose

Indices = npt.NDArray[np.int64]
# About where the head turns on the neck.
PIVOT = np.array([0.0, 0.50, -0.58], np.float32)


@dataclass(frozen=True)
class Texture:
    """Material of a surface at each place of a grid, all float32.

    `albedo` (H, W, 3) in linear light, `normal` (H, W, 3) of the resting body, `open` (H, W) 0 where no light
    from around arrives to 1, `gloss` (H, W); `lit` (H, W), how much of the key light arrives, and `alpha`
    (H, W), 1 where the surface is; None is 1 all over.
    """

    albedo: Array
    normal: Array
    open: Array
    gloss: Array
    lit: Array | None = None
    alpha: Array | None = None

    def texels(self) -> Array:
        """Return all but the alpha as (H * W, 9)."""
        lit = np.ones_like(self.open) if self.lit is None else self.lit
        rest = np.stack([self.open, self.gloss, lit], -1)
        return np.concatenate([self.albedo, self.normal, rest], -1).reshape(-1, 9).astype(np.float32)


def grid_faces(rows: int, columns: int) -> Indices:
    """Return the triangles (F, 3) of a grid of `rows` x `columns` vertices, clockwise seen from outside."""
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).reshape(-1)
    a, b, c, d = corner, corner + 1, corner + columns + 1, corner + columns
    return np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).astype(np.int64)


def grid_normals(place: Array) -> Array:
    """Return the outward normals (H, W, 3) of a surface (H, W, 3) whose grid runs right and down."""
    down, right = np.gradient(place, axis=0), np.gradient(place, axis=1)
    normal = np.cross(right, down)
    normal = normal / (np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-9)
    return np.asarray(normal, np.float32)


def rotation(pose: Pose, share: float = 1.0) -> Array:
    """Return the matrix (3, 3) that turns a head as `pose` says, or a `share` of it."""
    yaw, pitch, roll = pose.yaw * share, pose.pitch * share, pose.roll * share
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    lean = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(lean @ nod @ turn, np.float32)


def turned(place: Array, pose: Pose) -> Array:
    """Return places (..., 3) of the face after the head has turned."""
    return np.asarray((place - PIVOT) @ rotation(pose).T + PIVOT, np.float32)


def projected(place: Array, scale: float, offset: tuple[float, float], distance: float) -> Array:
    """Return where places (..., 3) of the turned face are seen: x, y in [-1, 1] of the picture, and nearness.

    `scale` is the face's unit in the picture's, `offset` where its origin lies, `distance` the camera's.
    """
    moved = place * np.float32(scale)
    nearer = distance / (distance - moved[..., 2])
    x, y = (moved[..., 0] + offset[0]) * nearer, (moved[..., 1] + offset[1]) * nearer
    return np.stack([x, y, moved[..., 2]], axis=-1).astype(np.float32)
