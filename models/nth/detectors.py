"""Detectors: the canonical keypoints of a source, and the pose of the head in a frame."""

from __future__ import annotations

import itertools
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.fomm.blocks import AntiAliasInterpolation2d, DownBlock2d, Pairs, features_at
from models.nth.blocks import UpBlock3d, volume_grid
from models.nth.config import NthConfig
from models.nth.pose import Pose

# Of the published estimator: 66 bins of 3 degrees each, the first at -99.
BIN_DEGREES, FIRST_DEGREES = 3.0, -99.0


class SlicedUpBlock3d(UpBlock3d):
    """An `UpBlock3d` whose convolution is added up from three flat ones, one for each slice of the kernel.

    Sums a third as long lose half as much in float32. Small shifts of heatmaps this sharp are motion.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Double height and width, then convolve."""
        doubled = F.interpolate(x, scale_factor=(1, 2, 2))
        depth = x.shape[2]
        layers = F.pad(doubled, (0, 0, 0, 0, 1, 1)).transpose(1, 2)
        flat = (
            F.conv2d(layers[:, k : k + depth].flatten(0, 1), self.conv.weight[:, :, k], padding=1)
            for k in range(3)
        )
        summed = sum(flat, start=torch.zeros((), device=x.device))
        volume = summed.reshape(x.shape[0], depth, *summed.shape[1:]).transpose(1, 2)
        assert self.conv.bias is not None
        return F.relu(self.norm(volume + self.conv.bias[:, None, None, None]), inplace=True)


class Predictor(nn.Module):
    """Pictures (B, C, H, W) -> volumes (B, out_features, depth, H, W): flat down, deep up, without skips."""

    def __init__(self, config: NthConfig) -> None:
        super().__init__()
        expansion, limit = config.detector_expansion, config.detector_max_features
        blocks = config.detector_blocks
        widths = [features_at(level, expansion, limit) for level in range(blocks + 1)]
        self.depth = config.depth
        self.down_blocks = nn.Sequential()
        self.up_blocks = nn.Sequential()
        for i in range(blocks):
            seen = widths[i] if i else config.num_channels
            self.down_blocks.add_module(f"down{i}", DownBlock2d(seen, widths[i + 1]))
            self.up_blocks.add_module(f"up{i}", SlicedUpBlock3d(widths[blocks - i], widths[blocks - i - 1]))
        self.conv = nn.Conv2d(widths[-1], widths[-1] * config.depth, 1)
        self.out_features = widths[0]

    def forward(self, pictures: Tensor) -> Tensor:
        """Give the coarsest features a depth, and bring them back to the size of `pictures`."""
        flat: Tensor = self.conv(self.down_blocks(pictures))
        volumes: Tensor = self.up_blocks(flat.reshape(flat.shape[0], -1, self.depth, *flat.shape[2:]))
        return volumes


class KPDetector(nn.Module):
    """Pictures (B, 3, H, W) in [0, 1] -> canonical keypoints (B, K, 3), of a head that looks ahead."""

    def __init__(self, config: NthConfig) -> None:
        super().__init__()
        self.temperature = config.temperature
        self.predictor = Predictor(config)
        self.kp = nn.Conv3d(self.predictor.out_features, config.num_kp, 3, padding=1)
        self.down: nn.Module = nn.Identity()
        if config.detector_scale != 1:
            self.down = AntiAliasInterpolation2d(config.num_channels, config.detector_scale)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the centre of mass of each keypoint's heatmap, (x, y, z) in [-1, 1]."""
        scores: Tensor = self.kp(self.predictor(self.down(pictures)))
        depth, height, width = scores.shape[2:]
        grid = volume_grid(depth, height, width, scores.device).reshape(-1, 3)
        # Sums over 65,536 cells in float32 would be off by more than what a frame's motion differs.
        heatmap = (scores.double().flatten(2) / self.temperature).softmax(dim=2)
        return (heatmap @ grid.double()).float()


class Bottleneck(nn.Module):
    """Three convolutions in parallel with a shortcut: (B, C, H, W) -> (B, C, H / stride, W / stride)."""

    conv_then_norm: ClassVar[Pairs] = (
        ("conv1", "norm1"), ("conv2", "norm2"), ("conv3", "norm3"), ("skip", "norm4"),
    )  # fmt: skip

    def __init__(self, features: int, stride: int = 1) -> None:
        super().__init__()
        narrow = features // 4
        self.conv1 = nn.Conv2d(features, narrow, 1)
        self.norm1 = nn.BatchNorm2d(narrow)
        self.conv2 = nn.Conv2d(narrow, narrow, 3, stride, padding=1)
        self.norm2 = nn.BatchNorm2d(narrow)
        self.conv3 = nn.Conv2d(narrow, features, 1)
        self.norm3 = nn.BatchNorm2d(features)
        strides = stride != 1
        self.skip = nn.Conv2d(features, features, 1, stride) if strides else nn.Identity()
        self.norm4 = nn.BatchNorm2d(features) if strides else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Add the shortcut to what the convolutions make of `x`, and rectify."""
        out = F.relu(self.norm1(self.conv1(x)), inplace=True)
        out = F.relu(self.norm2(self.conv2(out)), inplace=True)
        return F.relu(self.norm3(self.conv3(out)) + self.norm4(self.skip(x)), inplace=True)


class HEEstimator(nn.Module):
    """Pictures (B, 3, H, W) in [0, 1] -> `Pose`: head pose and expression, by a ResNet with five heads."""

    conv_then_norm: ClassVar[Pairs] = tuple((f"conv{i}", f"norm{i}") for i in range(1, 6))

    def __init__(self, config: NthConfig) -> None:
        super().__init__()
        narrow = config.estimator_width
        widths = [narrow, 4 * narrow, 8 * narrow, 16 * narrow, 32 * narrow]
        self.conv1 = nn.Conv2d(config.num_channels, narrow, 7, stride=2, padding=3)
        self.norm1 = nn.BatchNorm2d(narrow)
        for i, (inside, outside) in enumerate(itertools.pairwise(widths), start=2):
            setattr(self, f"conv{i}", nn.Conv2d(inside, outside, 1))
            setattr(self, f"norm{i}", nn.BatchNorm2d(outside))
        self.block1 = _blocks("b1", widths[1], 3)
        self.block2 = Bottleneck(widths[2], stride=2)
        self.block3 = _blocks("b3", widths[2], 3)
        self.block4 = Bottleneck(widths[3], stride=2)
        self.block5 = _blocks("b5", widths[3], 5)
        self.block6 = Bottleneck(widths[4], stride=2)
        self.block7 = _blocks("b7", widths[4], 2)
        # As published, the head called roll tells the yaw, and the other way round.
        self.fc_roll = nn.Linear(widths[4], config.angle_bins)
        self.fc_pitch = nn.Linear(widths[4], config.angle_bins)
        self.fc_yaw = nn.Linear(widths[4], config.angle_bins)
        self.fc_t = nn.Linear(widths[4], 3)
        self.fc_exp = nn.Linear(widths[4], 3 * config.num_kp)

    def forward(self, pictures: Tensor) -> Pose:
        """Return expression, translation, and the mean angle under each head's distribution."""
        features = self.features(pictures)
        shares = self.bins(features).softmax(dim=2)
        steps = torch.arange(shares.shape[2], device=shares.device, dtype=shares.dtype)
        angles = BIN_DEGREES * (shares * steps).sum(dim=2) + FIRST_DEGREES
        expression: Tensor = self.fc_exp(features)
        return Pose(expression.reshape(expression.shape[0], -1, 3), self.fc_t(features), angles)

    def features(self, pictures: Tensor) -> Tensor:
        """Return what the heads see, (B, 32 x width) float32."""
        out = F.max_pool2d(self._step(1, pictures), 3, stride=2, padding=1)
        out = self.block1(self._step(2, out))
        out = self.block3(self.block2(self._step(3, out)))
        out = self.block5(self.block4(self._step(4, out)))
        out = self.block7(self.block6(self._step(5, out)))
        features: Tensor = out.mean(dim=(2, 3)).float()
        return features

    def bins(self, features: Tensor) -> Tensor:
        """Return the logits of each bin of yaw, pitch and roll (B, 3, bins)."""
        return torch.stack([head(features) for head in (self.fc_roll, self.fc_pitch, self.fc_yaw)], dim=1)

    def _step(self, number: int, x: Tensor) -> Tensor:
        conv, norm = getattr(self, f"conv{number}"), getattr(self, f"norm{number}")
        return F.relu(norm(conv(x)), inplace=True)


def _blocks(name: str, features: int, count: int) -> nn.Sequential:
    blocks = nn.Sequential()
    for index in range(count):
        blocks.add_module(f"{name}_{index}", Bottleneck(features))
    return blocks
