"""A small convolutional network that marks faces in a shrunken camera frame.

Each cell of a grid, 8 pixels wide, gives the confidence that a face's centre lies in it, where exactly, and
how large the face is, as CenterNet does (Zhou et al. 2019, "Objects as Points").
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.head.head_config import OUTPUTS, STRIDE, UNIT, HeadConfig

__all__ = ["STRIDE", "UNIT", "HeadConfig", "HeadNetwork"]


class HeadNetwork(nn.Module):
    """Pictures (B, 3, H, W) in [0, 1] to cells (B, 4, H/8, W/8); H and W are multiples of 8.

    The four are the logit of a face's centre, its x and y from the cell's middle in cells, and the logarithm
    of its size / 16 pixels.
    """

    def __init__(self, config: HeadConfig | None = None) -> None:
        super().__init__()
        self.config = config or HeadConfig()
        half, quarter, eighth, coarse = self.config.channels
        self.fine = nn.Sequential(
            _dense(3, half, 3, 2),
            _separable(half, quarter, 2),
            _separable(quarter, quarter),
            _separable(quarter, eighth, 2),
            _separable(eighth, eighth),
            _separable(eighth, eighth),
        )
        self.coarse = nn.Sequential(
            _separable(eighth, coarse, 2), _separable(coarse, coarse), _separable(coarse, coarse)
        )
        self.back = nn.Conv2d(coarse, eighth, 1)
        self.joined = nn.Sequential(_separable(eighth, eighth), _separable(eighth, eighth))
        self.out = nn.Conv2d(eighth, OUTPUTS, 1)
        # Few cells hold a face: so the training begins near that, not at one half.
        self.out.bias = nn.Parameter(torch.tensor([-4.0, 0.0, 0.0, 0.0]))

    def forward(self, pictures: Tensor) -> Tensor:
        """See the class."""
        fine = self.fine(pictures - 0.5)
        coarse = F.interpolate(self.back(self.coarse(fine)), size=fine.shape[-2:], mode="nearest")
        cells: Tensor = self.out(self.joined(fine + coarse))
        return cells


def _dense(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


def _separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A depthwise 3x3 convolution and a pointwise one."""
    return nn.Sequential(_dense(inputs, inputs, 3, stride, inputs), _dense(inputs, outputs, 1))
