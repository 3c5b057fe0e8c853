"""The building blocks of the Thin-Plate-Spline model: those of FOMM, but each picture is normed by itself.

All its grids, and all that it resizes bilinearly, put -1 and 1 at the centres of the outermost pixels
(`align_corners=True`), unlike FOMM.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.fomm.blocks import features_at


def warp(features: Tensor, grid: Tensor) -> Tensor:
    """Sample `features` (B, C, H, W) bilinearly at `grid` (B, h, w, 2), zero outside; both float32."""
    return F.grid_sample(features, grid, mode="bilinear", padding_mode="zeros", align_corners=True)


def resize(maps: Tensor, size: torch.Size) -> Tensor:
    """Bring `maps` (B, C, h, w) to the height and width `size`, bilinearly."""
    if maps.shape[2:] == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=True)


class SameBlock2d(nn.Module):
    """Convolution, instance norm, ReLU at one resolution: (B, in, H, W) -> (B, out, H, W)."""

    def __init__(self, in_features: int, out_features: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_features, out_features, kernel_size, padding=kernel_size // 2)
        self.norm = nn.InstanceNorm2d(out_features, affine=True)

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

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)
        self.norm1 = nn.InstanceNorm2d(features, affine=True)
        self.norm2 = nn.InstanceNorm2d(features, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """Add what the two convolutions make of `x` to it."""
        out: Tensor = self.conv1(F.relu(self.norm1(x), inplace=True))
        out = self.conv2(F.relu(self.norm2(out), inplace=True))
        return x + out


class Encoder(nn.Module):
    """The contracting half of an hourglass."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.down_blocks = nn.ModuleList(DownBlock2d(*pair) for pair in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return `x` and the output of every block, from fine to coarse."""
        levels = [x]
        for block in self.down_blocks:
            levels.append(block(levels[-1]))
        return levels


class Decoder(nn.Module):
    """The expanding half of an hourglass; the encoder's output is appended to that of each block."""

    def __init__(self, outputs: list[int], skips: list[int]) -> None:
        super().__init__()
        inputs = [skips[-1], *(a + b for a, b in zip(outputs[:-1], reversed(skips[1:-1]), strict=True))]
        self.up_blocks = nn.ModuleList(UpBlock2d(*pair) for pair in zip(inputs, outputs, strict=True))

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """Return the coarsest of `levels` and the output of every block with its skip, coarse to fine."""
        *skips, out = levels
        outputs = [out]
        for block, skip in zip(self.up_blocks, reversed(skips), strict=True):
            outputs.append(torch.cat([block(outputs[-1]), skip], dim=1))
        return outputs


class Hourglass(nn.Module):
    """U-Net that shows all its decoder's stages: (B, in_features, H, W) -> `blocks` + 1 tensors.

    H and W must be multiples of 2^blocks. `out_features` are the channels of the stages, coarse to fine; the
    last has the resolution of the input, which is its skip connection.
    """

    def __init__(self, expansion: int, in_features: int, blocks: int, max_features: int) -> None:
        super().__init__()
        skips = [in_features, *(features_at(i + 1, expansion, max_features) for i in range(blocks))]
        outputs = [features_at(i, expansion, max_features) for i in reversed(range(blocks))]
        self.encoder = Encoder(skips)
        self.decoder = Decoder(outputs, skips)
        self.out_features = [
            skips[-1], *(out + skip for out, skip in zip(outputs, reversed(skips[:-1]), strict=True))
        ]  # fmt: skip

    def forward(self, x: Tensor) -> list[Tensor]:
        """Encode and decode."""
        out: list[Tensor] = self.decoder(self.encoder(x))
        return out
