"""The lite network's dense motion: where each place of the driving frame lies in the source."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.lite.blocks import UNet
from models.lite.config import LiteConfig
from models.lite.geometry import AffineMotions, drawn_heat, warp
from models.lite.layout import COUNT
from models.lite.structures import GRID, Motion, Points, Source

# Scales the residual flow to what it is for: a tenth of the picture's half width.
_FINE_MOTION = 0.1


class DenseMotion(nn.Module):
    """Chooses for every place between the points' motions and none; predicts what the source cannot show.

    A residual flow is added: lips and lids move in ways that no mixture of ten affine motions does. The
    network works at 32x32; its head tells the four places of each of its own apart by sub-pixel channels.
    """

    def __init__(self, config: LiteConfig) -> None:
        super().__init__()
        self.variance = config.variance
        self.body = UNet(4 * (COUNT + 1), config.motion, stride=2, blocks=2)
        self.head = nn.Conv2d(config.motion[0], 4 * (COUNT + 1 + 1 + 2), 3, padding=1)
        self._start_still()

    def _start_still(self) -> None:
        """Start without residual flow, and with equal sub-pixels, so that no grid shows."""
        with torch.no_grad():
            weight = self.head.weight
            weight.copy_(weight[::4].repeat_interleave(4, 0))
            weight[4 * (COUNT + 2) :] = 0.0
            assert self.head.bias is not None
            self.head.bias.zero_()

    def forward(self, source: Source, driving: Points) -> Motion:
        """Return the motion from `driving` points back to the source (both of batch B)."""
        heat = drawn_heat(driving.value, driving.jacobian, GRID, self.variance)
        motions = AffineMotions(Points.from_flat(source.points), driving)
        features = self.body(self._inputs(source, heat, motions.flows(GRID)))
        out = F.pixel_shuffle(self.head(features).float(), 2)
        mixed = motions.mixed(torch.softmax(out[:, : COUNT + 1], dim=1))
        planes = [plane + _FINE_MOTION * out[:, COUNT + 2 + at] for at, plane in enumerate(mixed)]
        return Motion(torch.stack(planes, -1), torch.sigmoid(out[:, COUNT + 1 : COUNT + 2]), heat, features)

    @staticmethod
    def _inputs(source: Source, heat: Tensor, flows: Tensor) -> Tensor:
        """Return heat against the source's, and the source moved, for each motion: (B, 4 (K + 1), 64, 64)."""
        batch = len(heat)
        difference = heat - source.heat
        difference = torch.cat([torch.zeros_like(difference[:, :1]), difference], dim=1)
        # All motions of a source in one tall flow: no copies of the source.
        moved = warp(source.small, flows.reshape(batch, (COUNT + 1) * GRID, GRID, 2))
        moved = moved.reshape(batch, 3, COUNT + 1, GRID, GRID)
        return torch.cat([difference[:, None], moved], dim=1).transpose(1, 2).flatten(1, 2)
