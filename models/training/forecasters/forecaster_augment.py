"""More motion than was filmed: the same windows as other cameras might have seen them.

Without it every network larger than a linear autoregression learns the people of the training set by heart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from shared.keypoints import KeypointLayout, Kind

REVERSED = 0.5
MIRRORED = 0.5
TURN = math.radians(40)
# Each axis is stretched by up to this factor, or shrunk.
STRETCH = 1.35


def augment(
    frames: Tensor, generator: torch.Generator, layout: KeypointLayout, mirror: Sequence[int] | None = None
) -> Tensor:
    """Return windows `frames` (B, T, D) run backwards, mirrored, turned and stretched at random.

    What is no point of the plane cannot be turned with it: a layout with other numbers is run
    backwards alone.
    A linear map A of the picture plane takes a point p to A p and its Jacobian J to A J: the equivariance
    that the detector is trained for (Siarohin et al., NeurIPS 2019, section 3.2). Points that are named parts
    of a face change places when it is mirrored, as `mirror` says, and their Jacobians, which start from an
    upright face, are mirrored on both sides.
    """
    count, length, _ = frames.shape
    backwards = torch.rand(count, generator=generator) < REVERSED
    frames = torch.where(backwards[:, None, None], frames.flip(1), frames)
    if any(group.kind is Kind.NUMBERS for group in layout.groups):
        return frames
    maps = _maps(count, generator)[:, None, None]
    moved = []
    for group, part in layout.parts():
        points = group.kind is Kind.POINTS
        columns = frames[..., part].reshape(count, length, group.count, 2, 1 if points else 2)
        if mirror is not None:
            flipped = (torch.linalg.det(maps) < 0)[..., None, None]
            back = torch.ones(1) if points else torch.tensor([-1.0, 1.0])
            columns = torch.where(flipped, columns[:, :, list(mirror)] * back, columns)
        moved.append((maps @ columns).flatten(2))
    return torch.cat(moved, dim=-1).contiguous()


def _maps(count: int, generator: torch.Generator) -> Tensor:
    """Return random linear maps (count, 2, 2) of the plane."""
    turn = TURN * (2 * torch.rand(count, generator=generator) - 1)
    stretch = STRETCH ** (2 * torch.rand(count, 2, generator=generator) - 1)
    mirror = torch.where(torch.rand(count, generator=generator) < MIRRORED, -1.0, 1.0)
    across = torch.stack([turn.cos(), turn.sin()], dim=-1) * (mirror * stretch[:, 0])[:, None]
    along = torch.stack([-turn.sin(), turn.cos()], dim=-1) * stretch[:, 1:]
    return torch.stack([across, along], dim=-1)
