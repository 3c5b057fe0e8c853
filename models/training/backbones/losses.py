"""Losses of the lite backbone: pyramid and gradient L1; without landmarks, equivariance and separation."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from models.lite.geometry import inverse_2x2, pixel_grid, product_2x2
from models.lite.network import Points


def pyramid_l1(prediction: Tensor, target: Tensor, levels: int = 4, weight: Tensor | None = None) -> Tensor:
    """Mean over a pyramid of the L1 distances of pixels and of their horizontal and vertical differences.

    `weight` (B, 1, H, W) is how much each place counts, 1 being usual.
    """
    difference = prediction - target
    weight = torch.ones_like(difference[:, :1]) if weight is None else weight
    total = prediction.new_zeros(())
    for level in range(levels):
        if level:
            difference, weight = F.avg_pool2d(difference, 2), F.avg_pool2d(weight, 2)
        across, down = difference.diff(dim=3), difference.diff(dim=2)
        total = total + (weight * difference.abs()).mean()
        total = total + (weight[..., 1:] * across.abs()).mean() + (weight[..., 1:, :] * down.abs()).mean()
    return total / levels


class AffineWarp:
    """One random affine map of the plane for each picture of a batch: rotation, scale, shear and shift."""

    def __init__(self, batch: int, like: Tensor) -> None:
        def uniform(low: float, high: float) -> Tensor:
            return torch.empty(batch, device=like.device).uniform_(low, high)

        angle, scale, shear = uniform(-0.5, 0.5), uniform(0.8, 1.25), uniform(-0.15, 0.15)
        cos, sin = torch.cos(angle), torch.sin(angle)
        rows = [scale * cos, scale * (shear * cos - sin), scale * sin, scale * (shear * sin + cos)]
        self.matrix = torch.stack(rows, dim=-1).reshape(batch, 2, 2)
        self.shift = torch.stack([uniform(-0.15, 0.15), uniform(-0.15, 0.15)], dim=-1)

    def warp(self, picture: Tensor) -> Tensor:
        """Return the picture Y with Y(z) = X(A z + b)."""
        grid = pixel_grid(picture.shape[2], picture.shape[3], self.matrix)
        matrix = self.matrix[:, None, None]
        flow = matrix[..., 0] * grid[..., :1] + matrix[..., 1] * grid[..., 1:] + self.shift[:, None, None]
        return F.grid_sample(picture, flow.to(picture.dtype), padding_mode="reflection", align_corners=False)

    def apply(self, points: Points) -> Points:
        """Carry points found in Y back to X."""
        matrix = self.matrix[:, None]
        x, y = points.value[..., :1], points.value[..., 1:]
        value = matrix[..., 0] * x + matrix[..., 1] * y + self.shift[:, None]
        return Points(value, product_2x2(matrix, points.jacobian))


def equivariance(plain: Points, warped: Points, warp: AffineWarp) -> tuple[Tensor, Tensor]:
    """Return the losses of value and Jacobian (Siarohin et al., NeurIPS 2019, section 3.3)."""
    back = warp.apply(warped)
    identity = torch.eye(2, device=back.jacobian.device)
    jacobian = (product_2x2(inverse_2x2(plain.jacobian), back.jacobian) - identity).abs().mean()
    return (plain.value - back.value).abs().mean(), jacobian


def separation_loss(value: Tensor, distance: float = 0.1) -> Tensor:
    """Return how much nearer to each other than `distance` keypoints (B, K, 2) are: 1 if all are one, else 0.

    Trained without it and without landmarks, all ten ended at one place: they said no more than one does.
    """
    count = value.shape[1]
    apart = (value[:, :, None] - value[:, None]).square().sum(3).add(1e-8).sqrt()
    close = F.relu(1 - apart / distance) * (1 - torch.eye(count, device=value.device))
    return close.sum() / (len(value) * count * (count - 1))
