"""Convolution blocks of the lite network.

Plain 3x3 convolutions, not inverted residuals: on one core of a server CPU (AVX-512, float32, 64 channels at
64x64 and 96 at 32x32) an inverted residual with a 5x5 depthwise layer took 1.3 to 2.6 times as long as a
plain 3x3 convolution of twice its multiply-accumulates.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Channels that OpenVINO's AVX2 kernels work on at a time.
_ABREAST = 8


def convolved(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve (B, I, H, W) with weights (O, I, K, K) to (B, O', H, W); O' is the next multiple of 8.

    The size is kept; the channels from O on are zero. On one AVX2 core 16 channels at 64x64, with what
    follows them, take a tenth less time than 10, and 32 at 128x128 are reordered far sooner than 28.
    """
    more = -len(weight) % _ABREAST
    weight, bias = F.pad(weight, (0, 0, 0, 0, 0, 0, 0, more)), F.pad(bias, (0, more))
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


class ConvBlock(nn.Sequential):
    """3x3 convolution, batch-norm, ReLU: (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))); the second batch-norm starts at zero: a block starts as the identity."""

    conv_then_norm = (("conv", "norm"),)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvBlock(channels, channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        return torch.relu(x + self.norm(self.conv(self.first(x))))


class Lift(nn.Module):
    """1x1 convolution, doubled in size, plus the skip connection, then a ConvBlock."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(inputs, outputs, 1)
        self.block = ConvBlock(outputs, outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map (B, inputs, H, W) and the skip (B, outputs, 2H, 2W) to (B, outputs, 2H, 2W)."""
        up = F.interpolate(self.project(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        return torch.as_tensor(self.block(up + skip))


class UNet(nn.Module):
    """Three scales with additive skips: strided blocks down, lifts up; `blocks` of them at the finest one."""

    def __init__(self, inputs: int, channels: tuple[int, ...], stride: int = 1, blocks: int = 1) -> None:
        super().__init__()
        fine, middle, coarse = channels
        more = (layer for _ in range(blocks - 1) for layer in ConvBlock(fine, fine))
        self.stem = nn.Sequential(*ConvBlock(inputs, fine, stride), *more)
        self.down = nn.Sequential(ConvBlock(fine, middle, 2), ConvBlock(middle, middle))
        self.bottom = nn.Sequential(ConvBlock(middle, coarse, 2), ConvBlock(coarse, coarse))
        self.up = Lift(coarse, middle)
        self.top = Lift(middle, fine)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, channels[0], H / stride, W / stride)."""
        fine = self.stem(x)
        middle = self.down(fine)
        return torch.as_tensor(self.top(self.up(self.bottom(middle), middle), fine))


class PooledUNet(nn.Module):
    """A U-Net of any number of scales: pooled down, with two blocks at each coarser scale, lifts up.

    A `stride` other than 1 makes its input coarser first, with another block at that scale.
    """

    def __init__(self, inputs: int, channels: tuple[int, ...], stride: int = 1) -> None:
        super().__init__()
        more = () if stride == 1 else ConvBlock(channels[0], channels[0])
        self.stem = nn.Sequential(*ConvBlock(inputs, channels[0], stride), *more)
        self.down = nn.ModuleList(
            nn.Sequential(ConvBlock(a, b), ConvBlock(b, b)) for a, b in pairwise(channels)
        )
        coarse = channels[::-1]
        self.up = nn.ModuleList(Lift(a, b) for a, b in pairwise(coarse))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, channels[0], H / stride, W / stride).

        2 must halve H / stride and W / stride at every coarser scale.
        """
        skips = [self.stem(x)]
        for block in self.down:
            skips.append(block(F.avg_pool2d(skips[-1], 2)))
        x = skips.pop()
        for lift in self.up:
            x = lift(x, skips.pop())
        return x
