"""Coordinates, Gaussians, affine motions. Positions are x, y in [-1, 1]; a pixel's position is its centre.

Products are written out instead of as matrix products: those would run in bfloat16 under autocast, whose
steps of 0.004 are half a pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Below this determinant a Jacobian is treated as this small; a peer may send any number.
_SMALLEST_DETERMINANT = 1e-3


def pixel_grid(height: int, width: int, like: Tensor) -> Tensor:
    """Return the pixel centres (height, width, 2) on the device and in the type of `like`."""
    y = (torch.arange(height, device=like.device, dtype=like.dtype) * 2 + 1) / height - 1
    x = (torch.arange(width, device=like.device, dtype=like.dtype) * 2 + 1) / width - 1
    return torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)


def gaussians(value: Tensor, height: int, width: int, variance: float) -> Tensor:
    """Return exp(-|z - p|^2 / (2 variance)) for points (B, K, 2): (B, K, height, width)."""
    offset = pixel_grid(height, width, value) - value[:, :, None, None]
    return torch.exp(-0.5 * offset.square().sum(-1) / variance)


def inverse_2x2(matrix: Tensor) -> Tensor:
    """Invert (..., 2, 2) in closed form, with the determinant kept away from zero: always finite."""
    a, b, c, d = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 0], matrix[..., 1, 1]
    determinant = a * d - b * c
    sign = torch.where(determinant < 0, -1.0, 1.0).to(determinant.dtype)
    safe = torch.where(determinant.abs() < _SMALLEST_DETERMINANT, sign * _SMALLEST_DETERMINANT, determinant)
    adjugate = torch.stack([d, -b, -c, a], dim=-1).reshape(matrix.shape)
    return adjugate / safe[..., None, None]


def product_2x2(a: Tensor, b: Tensor) -> Tensor:
    """Return the matrix products of (..., 2, 2), in the precision of both."""
    return a[..., :1] * b[..., :1, :] + a[..., 1:] * b[..., 1:, :]


def local_motions(
    source: tuple[Tensor, Tensor], driving: tuple[Tensor, Tensor], height: int, width: int
) -> Tensor:
    """Return where each pixel of the driving frame comes from, by each point's affine motion and by none.

    T(z) = p_S + J_S inv(J_D) (z - p_D) (Siarohin et al., NeurIPS 2019, eq. 4), preceded by the identity for
    the background: (B, K + 1, height, width, 2). Each side is (value (B, K, 2), jacobian (B, K, 2, 2)).
    """
    grid = pixel_grid(height, width, driving[0])
    offset = grid - driving[0][:, :, None, None]
    affine = product_2x2(source[1], inverse_2x2(driving[1]))[:, :, None, None]
    moved = affine[..., 0] * offset[..., :1] + affine[..., 1] * offset[..., 1:] + source[0][:, :, None, None]
    background = grid.expand(len(moved), 1, height, width, 2)
    return torch.cat([background, moved], dim=1)


def warp(picture: Tensor, flow: Tensor) -> Tensor:
    """Sample `picture` (B, C, h, w) at `flow` (B, H, W, 2), in the flow's precision; outside, the border."""
    return F.grid_sample(picture.to(flow.dtype), flow, padding_mode="border", align_corners=False)


def resize_flow(flow: Tensor, height: int, width: int) -> Tensor:
    """Resample a flow (B, H, W, 2) to another size; beyond the outermost old centres it goes on linearly."""
    rows, columns = flow.shape[1:3]
    if (rows, columns) == (height, width):
        return flow
    wide = _continued(_continued(flow, 1), 2)
    planes = F.interpolate(
        wide.permute(0, 3, 1, 2),
        size=(height * (rows + 2) // rows, width * (columns + 2) // columns),
        mode="bilinear",
        align_corners=False,
    )
    top, left = height // rows, width // columns
    return planes[:, :, top : top + height, left : left + width].permute(0, 2, 3, 1)


def _continued(flow: Tensor, axis: int) -> Tensor:
    """Add one linearly extrapolated row or column at either end."""
    size = flow.shape[axis]
    first, second = flow.narrow(axis, 0, 1), flow.narrow(axis, 1, 1)
    last, before = flow.narrow(axis, size - 1, 1), flow.narrow(axis, size - 2, 1)
    return torch.cat([2 * first - second, flow, 2 * last - before], dim=axis)
