"""Found points in training: which are known, given, one of them, or held."""

from __future__ import annotations

import torch
from torch import Tensor

from models.lite.structures import Points
from models.rows import row_index
from models.training.backbones.face_code import LABELLED

# The share of the rendering's gradient that moves points which have labels.
_SHARE = 0.2


def driving_of(found: Points, count: int) -> Points:
    """Return the last `count` points, which are of driving frames."""
    return Points(found.value[-count:], found.jacobian[-count:])


def one_of(points: Points, index: int) -> Points:
    """Return one of points (B, 10): value (B, 2), jacobian (B, 2, 2)."""
    return Points(points.value[:, index], points.jacobian[:, index])


def known(landmarks: Tensor) -> Tensor:
    """Return where all landmarks (B, ...) are known (B,)."""
    return torch.isfinite(landmarks).flatten(1).all(1)


def replaced(found: Tensor, wanted: Tensor, told: Tensor) -> Tensor:
    """Return numbers of points (B, 10, ...), where `told` with those of labelled points in `wanted`."""
    changed = found.index_copy(1, row_index(LABELLED, found.device), wanted.to(found.dtype))
    return torch.where(told.reshape(-1, *[1] * (found.dim() - 1)), changed, found)


def mostly_held(tensor: Tensor) -> Tensor:
    """Let a fifth of the rendering's gradient through to labelled points (B, 10, ...), and all to others."""
    share = torch.ones(tensor.shape[1], device=tensor.device)
    share = share.index_fill(0, row_index(LABELLED, tensor.device), _SHARE)
    share = share.reshape(-1, *[1] * (tensor.dim() - 2))
    return tensor.detach() + share * (tensor - tensor.detach())
