"""Pose of a head: what travels of a frame, and where it puts the keypoints of a source."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# The published code's pi.
_PI = 3.14


class Pose(NamedTuple):
    """The heads of B pictures, float32: 51 numbers each.

    `expression` (B, K, 3) moves each keypoint by itself, `translation` (B, 3) all of them; `angles` (B, 3)
    are yaw, pitch and roll in degrees.
    """

    expression: Tensor
    translation: Tensor
    angles: Tensor

    @classmethod
    def from_flat(cls, flat: Tensor) -> Pose:
        """Split flat vectors (B, 3K + 6): expression, translation, angles."""
        return cls(flat[:, :-6].reshape(flat.shape[0], -1, 3), flat[:, -6:-3], flat[:, -3:])

    def flat(self) -> Tensor:
        """Return the flat vectors (B, 3K + 6)."""
        return torch.cat([self.expression.flatten(1), self.translation, self.angles], dim=1)

    def place(self, canonical: Tensor) -> Tensor:
        """Return where `canonical` keypoints (B or 1, K, 3) are: x = R x_c + t + delta (B, K, 3)."""
        return canonical @ rotation(self.angles).mT + self.translation[:, None] + self.expression


def rotation(angles: Tensor) -> Tensor:
    """Return Rx(pitch) Ry(yaw) Rz(roll) (B, 3, 3) of `angles` (B, 3): yaw, pitch, roll in degrees."""
    radians = angles / 180 * _PI
    (cy, cx, cz), (sy, sx, sz) = radians.cos().unbind(1), radians.sin().unbind(1)
    rows = (
        (cy * cz, -cy * sz, sy),
        (cx * sz + sx * sy * cz, cx * cz - sx * sy * sz, -sx * cy),
        (sx * sz - cx * sy * cz, sx * cz + cx * sy * sz, cx * cy),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
