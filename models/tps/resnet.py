"""ResNet-18 (He et al., CVPR 2016), with the names that its published weights go by everywhere."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from models.fomm.blocks import Pairs


class BasicBlock(nn.Module):
    """Two 3x3 convolutions in parallel with a shortcut: (B, in, H, W) -> (B, out, H / stride, W / stride)."""

    conv_then_norm: ClassVar[Pairs] = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, in_features: int, out_features: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_features, out_features, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_features)
        self.conv2 = nn.Conv2d(out_features, out_features, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_features)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or in_features != out_features:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_features, out_features, 1, stride, bias=False), nn.BatchNorm2d(out_features)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Add the shortcut to what the convolutions make of `x`, and rectify."""
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self.bn2(self.conv2(out)) + shortcut, inplace=True)


class ResNet18(nn.Module):
    """Pictures (B, channels, H, W) -> (B, outputs): four stages of two blocks, a mean, a linear layer."""

    conv_then_norm: ClassVar[Pairs] = (("conv1", "bn1"),)

    def __init__(self, channels: int, outputs: int, width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, stride=1)
        self.layer2 = _stage(width, 2 * width, stride=2)
        self.layer3 = _stage(2 * width, 4 * width, stride=2)
        self.layer4 = _stage(4 * width, 8 * width, stride=2)
        self.fc = nn.Linear(8 * width, outputs)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the outputs; pictures are in [0, 1], of at least 32 pixels a side."""
        out = F.relu(self.bn1(self.conv1(pictures)), inplace=True)
        out = F.max_pool2d(out, 3, stride=2, padding=1)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            out = stage(out)
        outputs: Tensor = self.fc(out.mean(dim=(2, 3)))
        return outputs


def _stage(in_features: int, out_features: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        BasicBlock(in_features, out_features, stride), BasicBlock(out_features, out_features, 1)
    )
