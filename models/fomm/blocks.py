"""The building blocks that the three networks of the First Order Motion Model share."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Pairs = tuple[tuple[str, str], ...]


def coordinate_grid(height: int, width: int, device: torch.device) -> Tensor:
    """Return the positions (height, width, 2) as (x, y), float32, -1 and 1 at the outermost pixel centres."""
    x = 2 * torch.arange(width, device=device) / (width - 1) - 1
    y = 2 * torch.arange(height, device=device) / (height - 1) - 1
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def warp(features: Tensor, grid: Tensor) -> Tensor:
    """Sample `features` (B, C, H, W) bilinearly at `grid` (B, h, w, 2): (B, C, h, w), zero outside.

    The published networks were trained with `align_corners=False` on a grid built for True: half a pixel
    that is part of their weights. Both arguments are float32, because half precision cannot tell neighbouring
    positions apart.
    """
    return F.grid_sample(features, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def features_at(level: int, expansion: int, max_features: int) -> int:
    """Return the channel count after `level` halvings of the resolution: doubling, up to `max_features`."""
    return min(max_features, expansion << level)


class AntiAliasInterpolation2d(nn.Module):
    """Blur with a Gaussian, then keep every (1 / scale)-th pixel: (B, C, H, W) -> (B, C, H scale, W scale).

    sigma = (1 / scale - 1) / 2 over 2 round(4 sigma) + 1 taps, zero-padded. The kernel is a buffer, because
    the published checkpoints carry it.
    """

    weight: Tensor

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()
        self.stride = round(1 / scale)
        sigma = (1 / scale - 1) / 2
        self.reach = round(sigma * 4)
        offsets = torch.arange(-self.reach, self.reach + 1, dtype=torch.float32)
        line = torch.exp(-(offsets**2) / (2 * sigma**2)) if sigma else torch.ones(1)
        kernel = torch.outer(line, line)
        self.register_buffer("weight", (kernel / kernel.sum()).repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Blur and thin out in one strided convolution."""
        if self.stride == 1:
            return x
        return F.conv2d(x, self.weight, stride=self.stride, padding=self.reach, groups=x.shape[1])


class SameBlock2d(nn.Module):
    """Convolution, norm, ReLU at one resolution: (B, in, H, W) -> (B, out, H, W)."""

    conv_then_norm: ClassVar[Pairs] = (("conv", "norm"),)

    def __init__(self, in_features: int, out_features: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_features, out_features, kernel_size, padding=kernel_size // 2)
        self.norm = nn.BatchNorm2d(out_features)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve at the resolution of `x`."""
        out: Tensor = self.norm(self.conv(x))
        return F.relu(out, inplace=True)


class DownBlock2d(SameBlock2d):
    """A `SameBlock2d` whose result is averaged over 2x2 pixels: (B, in, H, W) -> (B, out, H/2, W/2)."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, then halve the resolution."""
        return F.avg_pool2d(super().forward(x), 2)


class UpBlock2d(SameBlock2d):
    """A `SameBlock2d` on the picture with every pixel doubled: (B, in, H, W) -> (B, out, 2H, 2W)."""

    def forward(self, x: Tensor) -> Tensor:
        """Double the resolution, then convolve."""
        return super().forward(F.interpolate(x, scale_factor=2))


class ResBlock2d(nn.Module):
    """Pre-norm residual block: norm, ReLU, convolution, twice, plus the input; (B, C, H, W) both ways."""

    conv_then_norm: ClassVar[Pairs] = (("conv1", "norm2"),)

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(features)
        self.norm2 = nn.BatchNorm2d(features)

    def forward(self, x: Tensor) -> Tensor:
        """Add what the two convolutions make of `x` to it."""
        out: Tensor = self.conv1(F.relu(self.norm1(x)))
        out = self.conv2(F.relu(self.norm2(out)))
        return x + out


class Encoder(nn.Module):
    """The contracting half of an hourglass."""

    def __init__(self, expansion: int, in_features: int, blocks: int, max_features: int) -> None:
        super().__init__()
        widths = [in_features, *(features_at(i + 1, expansion, max_features) for i in range(blocks))]
        self.down_blocks = nn.ModuleList(DownBlock2d(widths[i], widths[i + 1]) for i in range(blocks))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return `x` and the output of every block, from fine to coarse."""
        levels = [x]
        for block in self.down_blocks:
            levels.append(block(levels[-1]))
        return levels


class Decoder(nn.Module):
    """The expanding half of an hourglass; each block but the first also sees the encoder's output there."""

    def __init__(self, expansion: int, blocks: int, max_features: int) -> None:
        super().__init__()
        up_blocks = []
        for level in reversed(range(blocks)):
            inputs = features_at(level + 1, expansion, max_features) * (1 if level == blocks - 1 else 2)
            up_blocks.append(UpBlock2d(inputs, features_at(level, expansion, max_features)))
        self.up_blocks = nn.ModuleList(up_blocks)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Turn the encoder's outputs into (B, out_features, H, W)."""
        *skips, out = levels
        for block, skip in zip(self.up_blocks, reversed(skips), strict=True):
            out = torch.cat([block(out), skip], dim=1)
        return out


class Hourglass(nn.Module):
    """U-Net of the published model: (B, in_features, H, W) -> (B, out_features, H, W).

    H and W must be multiples of 2^blocks. The input itself is the last skip connection.
    """

    def __init__(self, expansion: int, in_features: int, blocks: int, max_features: int) -> None:
        super().__init__()
        self.encoder = Encoder(expansion, in_features, blocks, max_features)
        self.decoder = Decoder(expansion, blocks, max_features)
        self.out_features = features_at(0, expansion, max_features) + in_features

    def forward(self, x: Tensor) -> Tensor:
        """Encode and decode."""
        out: Tensor = self.decoder(self.encoder(x))
        return out
