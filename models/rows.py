"""Index tensors that stay on their device: a list as an index is an upload, for which a GPU is waited for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from models.landmarks.points import Rows


def picked(tensor: Tensor, rows: Sequence[int] | Rows) -> Tensor:
    """Return `rows` of `tensor` (B, N, ...): (B, rows, ...)."""
    return tensor.index_select(1, row_index(tuple(int(row) for row in rows), tensor.device))


@cache
def row_index(rows: tuple[int, ...], device: torch.device) -> Tensor:
    """Return `rows` (N,) as an index on `device`, always the same tensor."""
    with torch.inference_mode(mode=False):
        return torch.tensor(rows, device=device)
