"""The two generators: each warps the source's feature volume, hides what was occluded, and draws."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.fomm.blocks import DownBlock2d, ResBlock2d, SameBlock2d, UpBlock2d, features_at
from models.nth.blocks import LeakyBlock2d, ResBlock3d, warp
from models.nth.config import NthConfig
from models.nth.dense_motion import DenseMotionNetwork, Motion, MotionSource
from models.nth.spade import SpadeDecoder


class SourceState(NamedTuple):
    """All that is computed once per source: `volume` (., C, D, h, w) float32 and the motion's part."""

    volume: Tensor
    motion: MotionSource


class Rendered(NamedTuple):
    """`prediction` (B, 3, H, W) in [0, 1], the features `warped` to it (B, C, h, w), and the `motion`."""

    prediction: Tensor
    warped: Tensor
    motion: Motion


class Generator(nn.Module, ABC):
    """Common part of both generators: appearance as a volume, moved by the keypoints."""

    def __init__(self, config: NthConfig, first_kernel: int) -> None:
        super().__init__()
        self.dtype = torch.float32
        self.depth = config.depth
        widths = generator_widths(config)
        volume = config.feature_channels * config.depth
        self.dense_motion_network = DenseMotionNetwork(config)
        self.first = SameBlock2d(config.num_channels, widths[0], first_kernel)
        self.down_blocks = nn.ModuleList(DownBlock2d(*pair) for pair in itertools.pairwise(widths))
        self.second = nn.Conv2d(widths[-1], volume, 1)
        self.resblocks_3d = nn.Sequential()
        for index in range(config.generator_blocks):
            self.resblocks_3d.add_module(f"3dr{index}", ResBlock3d(config.feature_channels))
        self.third = LeakyBlock2d(volume, widths[-1])
        self.fourth = nn.Conv2d(widths[-1], widths[-1], 1)

    def encode_source(self, picture: Tensor, keypoints: Tensor) -> SourceState:
        """Do what depends on the source alone: `picture` (B, 3, H, W) and its `keypoints` (B, K, 3)."""
        flat = self.first(picture)
        for block in self.down_blocks:
            flat = block(flat)
        flat = self.second(flat)
        volume: Tensor = self.resblocks_3d(flat.reshape(flat.shape[0], -1, self.depth, *flat.shape[2:]))
        return SourceState(volume.float(), self.dense_motion_network.encode_source(volume, keypoints))

    def decode(self, state: SourceState, driving: Tensor) -> Rendered:
        """Draw the frames at `driving` (B, K, 3); `state` has B rows, or 1 that serves them all."""
        motion: Motion = self.dense_motion_network(state.motion, driving)
        volume = state.volume.expand(driving.shape[0], -1, -1, -1, -1)
        moved = warp(volume, motion.deformation).flatten(1, 2)
        warped: Tensor = self.fourth(self.third(moved.to(self.dtype))).float()
        logits = self.draw(warped * motion.occlusion)
        return Rendered(logits.float().sigmoid(), warped, motion)

    def convolve_in(self, dtype: torch.dtype) -> None:
        """Do a frame's convolutions in another precision from now on; the source is encoded in float32."""
        self.dtype = dtype
        self.dense_motion_network.convolve_in(dtype)
        self.third.to(dtype)
        self.fourth.to(dtype)

    @abstractmethod
    def draw(self, features: Tensor) -> Tensor:
        """Turn the visible `features` (B, C, h, w) into pictures (B, 3, H, W) before the sigmoid."""

    def forward(self, picture: Tensor, source: Tensor, driving: Tensor) -> Rendered:
        """Draw `picture` (B, 3, H, W), whose keypoints are `source`, at `driving`."""
        return self.decode(self.encode_source(picture, source), driving)


class OriginalGenerator(Generator):
    """The generator of the paper, with residual blocks and up-blocks as FOMM's."""

    def __init__(self, config: NthConfig) -> None:
        super().__init__(config, first_kernel=7)
        widths = generator_widths(config)
        self.resblocks_2d = nn.Sequential()
        for index in range(config.generator_blocks):
            self.resblocks_2d.add_module(f"2dr{index}", ResBlock2d(widths[-1]))
        self.up_blocks = nn.ModuleList(
            UpBlock2d(*pair) for pair in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.final = nn.Conv2d(widths[0], config.num_channels, 7, padding=3)

    def draw(self, features: Tensor) -> Tensor:
        """Draw through residual blocks, then at rising resolution."""
        out = self.resblocks_2d(features)
        for block in self.up_blocks:
            out = block(out)
        logits: Tensor = self.final(out)
        return logits


class SpadeGenerator(Generator):
    """The generator of the published vox-256 weights, whose decoder is modulated by the warped features."""

    def __init__(self, config: NthConfig) -> None:
        super().__init__(config, first_kernel=3)
        widths = generator_widths(config)
        self.decoder = SpadeDecoder(config, widths[-1], widths[0])

    def convolve_in(self, dtype: torch.dtype) -> None:
        """Do the convolutions of a frame in another precision, the decoder's among them."""
        super().convolve_in(dtype)
        self.decoder.to(dtype)

    def draw(self, features: Tensor) -> Tensor:
        """Draw by the decoder."""
        logits: Tensor = self.decoder(features.to(self.dtype))
        return logits


def generator_widths(config: NthConfig) -> list[int]:
    """Return the channels of the flat features at each resolution, fine to coarse."""
    return [
        features_at(level, config.generator_expansion, config.generator_max_features)
        for level in range(config.generator_down_blocks + 1)
    ]
