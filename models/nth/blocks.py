"""The building blocks of the neural talking head: those of FOMM, and the same in three dimensions.

Volumes are (B, C, D, H, W). Only height and width are ever halved or doubled, never the depth. Grids put -1
and 1 at the centres of the outermost cells, but are sampled as if these were the cells' edges: the published
weights were trained so, and the grid of all positions is therefore no identity.
"""

from __future__ import annotations

import itertools
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.fomm.blocks import Pairs, SameBlock2d, features_at


def volume_grid(depth: int, height: int, width: int, device: torch.device) -> Tensor:
    """Return the positions (depth, height, width, 3) as (x, y, z), float32, -1 and 1 at the ends' centres."""
    z, y, x = (2 * torch.arange(n, device=device) / (n - 1) - 1 for n in (depth, height, width))
    z, y, x = torch.meshgrid(z, y, x, indexing="ij")
    return torch.stack([x, y, z], dim=-1)


def warp(volume: Tensor, grid: Tensor) -> Tensor:
    """Sample `volume` (B, C, D, H, W) trilinearly at `grid` (B, d, h, w, 3), zero outside; both float32."""
    return F.grid_sample(volume, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


class LeakyBlock2d(SameBlock2d):
    """Convolution, norm, leaky ReLU at one resolution: (B, in, H, W) -> (B, out, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve at the resolution of `x`."""
        return F.leaky_relu(self.norm(self.conv(x)), 0.01)


class SameBlock3d(nn.Module):
    """Convolution, norm, ReLU at one resolution: (B, in, D, H, W) -> (B, out, D, H, W)."""

    conv_then_norm: ClassVar[Pairs] = (("conv", "norm"),)

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_features, out_features, 3, padding=1)
        self.norm = nn.BatchNorm3d(out_features)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve at the resolution of `x`."""
        out: Tensor = self.norm(self.conv(x))
        return F.relu(out, inplace=True)


class DownBlock3d(SameBlock3d):
    """A `SameBlock3d` whose result is averaged over 2x2 cells of a layer: height and width are halved."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, then halve height and width."""
        # Layer by layer, because torch averages volumes of half precision on no CPU.
        full = super().forward(x)
        halved = F.avg_pool2d(full.flatten(1, 2), 2)
        return halved.reshape(*full.shape[:3], *halved.shape[2:])


class UpBlock3d(SameBlock3d):
    """A `SameBlock3d` on the volume with every cell doubled in height and width."""

    def forward(self, x: Tensor) -> Tensor:
        """Double height and width, then convolve."""
        return super().forward(F.interpolate(x, scale_factor=(1, 2, 2)))


class ResBlock3d(nn.Module):
    """Pre-norm residual block: norm, ReLU, convolution, twice, plus the input; (B, C, D, H, W) both ways."""

    conv_then_norm: ClassVar[Pairs] = (("conv1", "norm2"),)

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(features, features, 3, padding=1)
        self.conv2 = nn.Conv3d(features, features, 3, padding=1)
        self.norm1 = nn.BatchNorm3d(features)
        self.norm2 = nn.BatchNorm3d(features)

    def forward(self, x: Tensor) -> Tensor:
        """Add what the two convolutions make of `x` to it."""
        out: Tensor = self.conv1(F.relu(self.norm1(x)))
        out = self.conv2(F.relu(self.norm2(out)))
        return x + out


class Encoder3d(nn.Module):
    """The contracting half of an hourglass."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.down_blocks = nn.ModuleList(DownBlock3d(*pair) for pair in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return `x` and the output of every block, from fine to coarse."""
        levels = [x]
        for block in self.down_blocks:
            levels.append(block(levels[-1]))
        return levels


class Decoder3d(SameBlock3d):
    """The expanding half: the encoder's output is appended to that of each block; one convolution follows."""

    def __init__(self, outputs: list[int], skips: list[int]) -> None:
        features = outputs[-1] + skips[0]
        super().__init__(features, features)
        inputs = [skips[-1], *(a + b for a, b in zip(outputs[:-1], reversed(skips[1:-1]), strict=True))]
        self.up_blocks = nn.ModuleList(UpBlock3d(*pair) for pair in zip(inputs, outputs, strict=True))

    def decode(self, levels: list[Tensor]) -> Tensor:
        """Turn the encoder's outputs, fine to coarse, into (B, out_features, D, H, W)."""
        *skips, out = levels
        for block, skip in zip(self.up_blocks, reversed(skips), strict=True):
            out = torch.cat([block(out), skip], dim=1)
        joined: Tensor = self(out)
        return joined


class Hourglass3d(nn.Module):
    """U-Net on volumes: (B, in_features, D, H, W) -> (B, out_features, D, H, W).

    H and W must be multiples of 2^blocks. The input itself is the last skip connection.
    """

    def __init__(self, expansion: int, in_features: int, blocks: int, max_features: int) -> None:
        super().__init__()
        skips = [in_features, *(features_at(i + 1, expansion, max_features) for i in range(blocks))]
        outputs = [features_at(i, expansion, max_features) for i in reversed(range(blocks))]
        self.encoder = Encoder3d(skips)
        self.decoder = Decoder3d(outputs, skips)
        self.out_features = outputs[-1] + in_features

    def forward(self, x: Tensor) -> Tensor:
        """Encode and decode."""
        return self.decoder.decode(self.encoder(x))
