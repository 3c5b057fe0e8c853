"""Coordinates, heat, affine motions, warps. Positions are x, y in [-1, 1]; a pixel's position is its centre.

Products are written out, x and y apart: as matrix products they would run in bfloat16 under autocast, whose
steps of 0.004 are half a pixel, and with an innermost axis of two no vector unit is filled.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

# Below this determinant a Jacobian is treated as this small; a peer may send any number.
_SMALLEST_DETERMINANT = 1e-3
# Beyond this many standard deviations nothing is drawn; hostile numbers must not overflow.
_FARTHEST = 9.0


def axis(size: int, like: Tensor) -> Tensor:
    """Return the pixel centres along one axis (size,), on the device and in the type of `like`."""
    return (torch.arange(size, device=like.device, dtype=like.dtype) * 2 + 1) / size - 1


def pixel_grid(height: int, width: int, like: Tensor) -> Tensor:
    """Return the pixel centres (height, width, 2) on the device and in the type of `like`."""
    rows, columns = torch.meshgrid(axis(height, like), axis(width, like), indexing="ij")
    return torch.stack([columns, rows], dim=-1)


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


def _applied(matrix: Tensor, value: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return x and y, each (B, K, size, size), of matrix (B, K, 2, 2) times (z - value) for all pixels z."""
    place = axis(size, value)
    x = (place - value[..., :1])[:, :, None, :]
    y = (place - value[..., 1:])[:, :, :, None]
    a, b, c, d = (matrix[..., row, column, None, None] for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)))
    return a * x + b * y, c * x + d * y


def drawn_heat(value: Tensor, jacobian: Tensor, size: int, variance: float) -> Tensor:
    """Draw points (B, K, 2) with Jacobians (B, K, 2, 2) as ellipses: (B, K, size, size) in [0, 1].

    exp(-|inv(J) (z - p)|^2 / (2 variance)): FOMM's Gaussian (Siarohin et al., NeurIPS 2019), in the point's
    own frame instead of the picture's. A closing eye becomes a thin ellipse.
    """
    x, y = _applied(inverse_2x2(jacobian), value, size)
    squared = (x * x + y * y) * (1 / variance)
    return torch.exp(-0.5 * squared.clamp(max=_FARTHEST**2))


class AffineMotions:
    """Origin of each pixel of the driving frame, by each point's affine motion and by none.

    T(z) = p_S + J_S inv(J_D) (z - p_D) (Siarohin et al., NeurIPS 2019, eq. 4), preceded by the identity for
    the background. Each side is (value (B, K, 2), jacobian (B, K, 2, 2)).
    """

    def __init__(self, source: tuple[Tensor, Tensor], driving: tuple[Tensor, Tensor]) -> None:
        matrix = product_2x2(source[1], inverse_2x2(driving[1]))
        shift = source[0] - (matrix * driving[0][:, :, None]).sum(-1)
        still = torch.eye(2, device=matrix.device, dtype=matrix.dtype).expand(matrix.shape[0], 1, 2, 2)
        self.matrix = torch.cat([still, matrix], dim=1)
        self.shift = torch.cat([torch.zeros_like(shift[:, :1]), shift], dim=1)

    def flows(self, size: int) -> Tensor:
        """Return all of them as flows (B, K + 1, size, size, 2)."""
        place = axis(size, self.shift)
        rows = (*self.shift.shape[:2], 1, 2 * size)
        # x and y of a row in one line: an innermost axis of two fills no vector unit.
        across = (self.matrix[..., None, :, 0] * place[:, None] + self.shift[:, :, None]).reshape(rows)
        down = self.matrix[..., None, :, 1].expand(-1, -1, size, -1).reshape(rows)
        return (across + place[:, None] * down).reshape(*rows[:2], size, size, 2)

    def mixed(self, shares: Tensor) -> tuple[Tensor, Tensor]:
        """Return x and y, each (B, size, size), of the flow that mixes them by `shares` (B, K + 1, ...).

        An affine map of mixed parts is the mix of the maps: the parts are mixed, not the flows.
        """
        size = shares.shape[-1]
        parts = torch.cat([self.matrix.flatten(2), self.shift], dim=-1).transpose(1, 2)
        with torch.autocast(shares.device.type, enabled=False):
            mixed = parts.float() @ shares.float().flatten(2)
        a, b, c, d, x, y = mixed.reshape(-1, 6, size, size).unbind(1)
        across = axis(size, x)
        down = across[:, None]
        return a * across + b * down + x, c * across + d * down + y


def warp(picture: Tensor, flow: Tensor) -> Tensor:
    """Sample `picture` (B, C, h, w) at `flow` (B, H, W, 2), in the flow's precision; outside, the border."""
    return F.grid_sample(picture.to(flow.dtype), flow, padding_mode="border", align_corners=False)


@cache
def _enlarging(size: int, factor: int, device: torch.device) -> Tensor:
    """Return the matrix (factor size, size) of linear interpolation, going on linearly beyond the ends."""
    place = (torch.arange(size * factor, device=device) + 0.5) / factor - 0.5
    first = place.floor().clamp(0, size - 2)
    share = (place - first)[:, None]
    index = torch.arange(size, device=device)[None] - first[:, None]
    return (1 - share) * (index == 0) + share * (index == 1)


def enlarged_flow(flow: Tensor, window: tuple[int, int, int], factor: int = 4) -> Tensor:
    """Resample a window (top, left, size) of a flow (B, H, H, 2) to `factor` times its resolution.

    Returns (B, factor size, factor size, 2), linearly interpolated from the whole flow; beyond the outermost
    centres it goes on linearly. Even rows come before odd ones, and even columns before odd ones: what is
    sampled there is unshuffled by 2 without an element moved by itself (see `unshuffled`).
    """
    top, left, size = window
    whole = _enlarging(flow.shape[1], factor, flow.device).to(flow.dtype)
    down, across = (_parted(whole[factor * at : factor * (at + size)]) for at in (top, left))
    with torch.autocast(flow.device.type, enabled=False):
        return (down @ flow.permute(0, 3, 1, 2) @ across.T).permute(0, 2, 3, 1)


def grown_flow(flow: Tensor, size: int) -> Tensor:
    """Resample a flow (B, H, H, 2) to (B, size, size, 2), a multiple of H, as `enlarged_flow` does."""
    matrix = _enlarging(flow.shape[1], size // flow.shape[1], flow.device).to(flow.dtype)
    return (matrix @ flow.permute(0, 3, 1, 2) @ matrix.T).permute(0, 2, 3, 1)


def _parted(matrix: Tensor) -> Tensor:
    """Put even rows before odd ones."""
    return torch.cat([matrix[0::2], matrix[1::2]])


def unshuffled(parted: Tensor) -> Tensor:
    """Turn a picture (B, C, 2h, 2w), even rows and columns before odd ones, into pixel_unshuffle's order.

    That is (B, 4C, h, w).
    """
    batch, channels, height, width = parted.shape
    split = parted.reshape(batch, channels, 2, height // 2, 2, width // 2)
    return split.transpose(3, 4).reshape(batch, 4 * channels, height // 2, width // 2)


def halved(picture: Tensor) -> Tensor:
    """Return the means of 2x2 pixels (B, C, H / 2, W / 2), as F.avg_pool2d does.

    As a warp, for which OpenVINO does not first put a whole picture of three channels in order for eight.
    """
    grid = pixel_grid(picture.shape[2] // 2, picture.shape[3] // 2, picture)
    return warp(picture, grid.expand(picture.shape[0], -1, -1, -1))
