"""Eyes that look elsewhere: irises moved between their lids, in pictures whose landmarks are known.

Hardly a pair of real frames differs in gaze alone, and where it does, landmarks are off by as much as irises
move: a rendering learned from such pairs moved irises an eighth as far as it was told to. Here everything
but the irises stays, and how far they go is known exactly, for every person and portrait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.landmarks.points import EYES, LEFT_EYE, LEFT_IRIS, RIGHT_EYE, RIGHT_IRIS, Rows, rows
from models.rows import picked, row_index
from shared.keypoints import Floats, Pictures


class _Parts(NamedTuple):
    """Rows of an eye: its corners from left to right in the picture, the lids between them, its iris."""

    corners: Rows
    upper: Rows
    lower: Rows
    iris: Rows


_EYES = (
    _Parts(rows(33, 133), RIGHT_EYE[9:], RIGHT_EYE[1:8], RIGHT_IRIS),
    _Parts(rows(362, 263), LEFT_EYE[9:], LEFT_EYE[1:8], LEFT_IRIS),
)
# In eye widths: how open an eye has to be, how far from its corners an iris may come, and how soft lids are.
_OPEN, _NEAREST, _SOFT = 0.14, 0.06, 0.05
_TINY = 1e-4


@dataclass(frozen=True)
class _Eye:
    """One eye of faces (B,): its own axes, from corner to corner and across, in eye widths."""

    corner: Tensor  # (B, 2)
    along: Tensor  # (B, 2): from corner to corner
    upper: Tensor  # (B,): how far the lids bulge
    lower: Tensor
    iris: Tensor  # (B,): where it is
    radius: Tensor

    @classmethod
    def of(cls, faces: Tensor, parts: _Parts) -> _Eye:
        """Measure the eye of landmarks (B, 175, 2) whose rows are `parts`."""
        corners, upper, lower, iris = (picked(faces, part) for part in parts)
        corner, along = corners[:, 0], corners[:, 1] - corners[:, 0]
        eye = cls(corner, along, *(corner[:, 0],) * 4)
        u, _ = eye.axes(iris)
        width = along.square().sum(-1, keepdim=True).sqrt().clamp(min=_TINY)
        radius = (iris[:, 1:] - iris[:, :1]).square().sum(-1).sqrt().mean(1) / width[:, 0]
        return cls(corner, along, eye._bulge(upper), eye._bulge(lower), u[:, 0], radius)

    def axes(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return where places (B, N, 2) are: along the eye, 0 and 1 in its corners, and across, down."""
        off = places - self.corner[:, None]
        norm = 1 / self.along.square().sum(-1).clamp(min=_TINY**2)[:, None]
        x, y = self.along[:, None, 0], self.along[:, None, 1]
        return (off[..., 0] * x + off[..., 1] * y) * norm, (off[..., 1] * x - off[..., 0] * y) * norm

    def _bulge(self, lid: Tensor) -> Tensor:
        """Return the k of the parabola k u (1 - u) through both corners nearest to a lid (B, N, 2)."""
        u, v = self.axes(lid)
        arch = u * (1 - u)
        return (v * arch).sum(1) / arch.square().sum(1).clamp(min=_TINY)

    def limited(self, aside: Tensor) -> Tensor:
        """Return how far irises go of `aside` (B,): not into a corner, and nowhere where lids are shut."""
        room = self.radius + _NEAREST
        goal = torch.minimum(torch.maximum(self.iris + aside, room), 1 - room)
        movable = ((self.lower - self.upper) / 4 > _OPEN) & (self.iris > room) & (self.iris < 1 - room)
        return torch.where(movable, goal - self.iris, torch.zeros_like(goal))

    def origin(self, places: Tensor, aside: Tensor) -> Tensor:
        """Return where the picture has now what `places` (B, N, 2) shall show: whites stretch, lids stay."""
        u, v = self.axes(places)
        iris, radius, shift = self.iris[:, None], self.radius[:, None], aside[:, None]
        left, right = iris - radius, iris + radius
        before = u * left / (left + shift).clamp(min=_TINY)
        after = 1 - (1 - u) * (1 - right) / (1 - right - shift).clamp(min=_TINY)
        origin = torch.where(u < left + shift, before, torch.where(u > right + shift, after, u - shift))
        arch = (u * (1 - u)).clamp(min=0)
        within = torch.minimum(v - self.upper[:, None] * arch, self.lower[:, None] * arch - v)
        moved = (origin - u) * (within / _SOFT).clamp(0, 1)
        return places + moved[..., None] * self.along[:, None]


def glanced(faces: Tensor, aside: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Let faces (B, 175, 2) look `aside` (B,), in eye widths to the right of the picture, as far as they can.

    Returns where pictures show now what they shall show at `places` (B, N, 2) in [-1, 1], and the landmarks
    of those pictures. Unknown faces (NaN), shut eyes and irises in a corner stay as they are.
    """
    known = torch.isfinite(faces).flatten(1).all(1)
    there, landmarks = torch.nan_to_num(faces), faces.clone()
    for parts in _EYES:
        eye = _Eye.of(there, parts)
        shift = torch.where(known, eye.limited(aside), torch.zeros_like(aside))
        places = eye.origin(places, shift)
        moved = (shift[:, None] * eye.along)[:, None].expand(-1, len(parts.iris), -1)
        landmarks.index_add_(1, row_index(tuple(parts.iris.tolist()), faces.device), moved)
    return places, landmarks


def looking(pictures: Sequence[Pictures], faces: Floats, aside: Floats) -> tuple[list[Pictures], Floats]:
    """Let pictures (S, S, 3), uint8, look `aside` (N,) by their landmarks (N, 175, 2); return both as then.

    See `glanced`. Where a face is not known, all stay as they are.
    """
    size, around = len(pictures[0]), faces[:, EYES]
    if not np.isfinite(around).all():
        return list(pictures), faces
    # Nothing changes beyond the eyes.
    low = np.clip(np.floor((around.min((0, 1)) + 1) * size / 2), 0, size - 1).astype(int)
    high = np.clip(np.ceil((around.max((0, 1)) + 1) * size / 2), low + 1, size).astype(int)
    rows_, columns = slice(low[1], high[1]), slice(low[0], high[0])
    known, axis = torch.from_numpy(faces), (torch.arange(size) * 2 + 1) / size - 1
    y, x = torch.meshgrid(axis[rows_], axis[columns], indexing="ij")
    places = torch.stack([x, y], dim=-1)
    every = places.reshape(1, -1, 2).expand(len(pictures), -1, 2)
    origins, seen = glanced(known, torch.from_numpy(aside), every)
    whole = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float()
    origins = origins.reshape(-1, *places.shape)
    eyes = F.grid_sample(whole, origins, padding_mode="border", align_corners=False)
    changed = np.stack(pictures)
    changed[:, rows_, columns] = eyes.round().permute(0, 2, 3, 1).byte().numpy()
    return list(changed), seen.numpy()
