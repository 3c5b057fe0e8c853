"""The generator: warps the features of the source picture, hides what was occluded, and draws the frame."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.fomm.blocks import DownBlock2d, ResBlock2d, SameBlock2d, UpBlock2d, features_at, warp
from models.fomm.config import FommConfig
from models.fomm.dense_motion import DenseMotionNetwork, Motion, MotionSource
from models.fomm.keypoint_detector import Points


class SourceState(NamedTuple):
    """All that is computed once per source picture: `features` (B, C, h, w) float32 and the motion's part."""

    features: Tensor
    motion: MotionSource


class Rendered(NamedTuple):
    """`prediction` (B, 3, H, W) in [0, 1] and the `motion` it was drawn with."""

    prediction: Tensor
    motion: Motion


class OcclusionAwareGenerator(nn.Module):
    """Draws the source picture at other keypoints (FOMM eq. 8)."""

    def __init__(self, config: FommConfig) -> None:
        super().__init__()
        downs = config.generator_down_blocks
        widths = [
            features_at(level, config.generator_expansion, config.generator_max_features)
            for level in range(downs + 1)
        ]
        self.dense_motion_network = DenseMotionNetwork(config)
        self.first = SameBlock2d(config.num_channels, widths[0], kernel_size=7)
        self.down_blocks = nn.ModuleList(DownBlock2d(widths[i], widths[i + 1]) for i in range(downs))
        self.up_blocks = nn.ModuleList(UpBlock2d(widths[i + 1], widths[i]) for i in reversed(range(downs)))
        self.bottleneck = nn.Sequential()
        for index in range(config.generator_bottleneck_blocks):
            self.bottleneck.add_module(f"r{index}", ResBlock2d(widths[-1]))
        self.final = nn.Conv2d(widths[0], config.num_channels, 7, padding=3)

    def encode_source(self, picture: Tensor, points: Points) -> SourceState:
        """Do what depends on the source alone: `picture` (B, 3, H, W) in [0, 1] and its `points`."""
        features = self.first(picture)
        for block in self.down_blocks:
            features = block(features)
        return SourceState(features.float(), self.dense_motion_network.encode_source(picture, points))

    def decode(self, state: SourceState, driving: Points) -> Rendered:
        """Draw the frames at `driving` (B rows); `state` has B rows, or 1 that serves them all."""
        motion: Motion = self.dense_motion_network(state.motion, driving)
        size = state.features.shape[2:]
        deformation = resize(motion.deformation.permute(0, 3, 1, 2), size).permute(0, 2, 3, 1)
        features = state.features.expand(deformation.shape[0], -1, -1, -1)
        out = warp(features, deformation) * resize(motion.occlusion, size)
        out = self.bottleneck(out.to(self.final.weight.dtype))
        for block in self.up_blocks:
            out = block(out)
        return Rendered(self.final(out).float().sigmoid(), motion)

    def forward(self, picture: Tensor, source: Points, driving: Points) -> Rendered:
        """Draw `picture` (B, 3, H, W), whose keypoints are `source`, at `driving`."""
        return self.decode(self.encode_source(picture, source), driving)


def resize(maps: Tensor, size: torch.Size) -> Tensor:
    """Bring `maps` (B, C, h, w) to the height and width `size`, bilinearly as published."""
    if maps.shape[2:] == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
