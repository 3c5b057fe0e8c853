"""The lite network's dense motion: where each place of the driving frame lies in the source."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.lite.blocks import UNet
from models.lite.config import LiteConfig
from models.lite.geometry import AffineMotions, drawn_heat, warp
from models.lite.layout import COUNT
from models.lite.parts import PARTS, Parts, further_aside
from models.lite.structures import GRID, Motion, Points, Source

# Scales the residual flow to what it is for: a tenth of the picture's half width.
_FINE_MOTION = 0.1
# Of the parts, the first ones are both eyes' lids.
_LIDS = 2
# Where its heat is 1 / _PLATEAU and more is an iris's own place, and so it is with an opening, drawn so wide
# and high in the Jacobian of its lids; beyond, its motion is less likely by up to _NEARNESS, as a logit. Left
# to learn that, at 64x64, where an opening is two places high, the network moved lids and irises as one.
_PLATEAU, _NEARNESS = 2.5, 10.0
_OPENING = (0.8, 0.15)


class DenseMotion(nn.Module):
    """Chooses for every place between the parts' motions and none; predicts what the source cannot show.

    A residual flow is added: lips and lids move in ways that no mixture of a few affine motions does. The
    network works at 32x32; its head tells the four places of each of its own apart by sub-pixel channels.
    """

    def __init__(self, config: LiteConfig) -> None:
        super().__init__()
        self.variance = config.variance
        self.parts = Parts(config)
        self.body = UNet(4 * (PARTS + 1), config.motion, stride=2, blocks=2)
        self.head = nn.Conv2d(config.motion[0], 4 * (PARTS + 1 + 1 + 2), 3, padding=1)
        self._start_still()

    def _start_still(self) -> None:
        """Start without residual flow, and with equal sub-pixels, so that no grid shows."""
        with torch.no_grad():
            weight = self.head.weight
            weight.copy_(weight[::4].repeat_interleave(4, 0))
            weight[4 * (PARTS + 2) :] = 0.0
            assert self.head.bias is not None
            self.head.bias.zero_()

    def forward(self, source: Source, driving: Points, glance: float | None = None) -> Motion:
        """Return the motion from `driving` points back to the source (both of batch B).

        With `glance`, irises are taken so many times as far aside from where the source has them.
        """
        here = self.parts(Points.from_flat(source.points))
        parts = self.parts(driving)
        if glance is not None:
            parts = further_aside(parts, here, glance)
        heat = drawn_heat(parts.value, parts.jacobian, GRID, self.variance)
        motions = AffineMotions(here, parts)
        features = self.body(self._inputs(source, heat, motions.flows(GRID)))
        out = F.pixel_shuffle(self.head(features).float(), 2)
        mixed = motions.mixed(torch.softmax(self._shares(out[:, : PARTS + 1], heat, parts), dim=1))
        planes = [plane + _FINE_MOTION * out[:, PARTS + 2 + at] for at, plane in enumerate(mixed)]
        return Motion(torch.stack(planes, -1), torch.sigmoid(out[:, PARTS + 1 : PARTS + 2]), heat, features)

    def _shares(self, logits: Tensor, heat: Tensor, parts: Points) -> Tensor:
        """Return logits (B, K + 1, 64, 64) by which irises move what is near them and between the lids."""
        shape = parts.jacobian[:, :_LIDS]
        across, down = _OPENING
        shape = torch.cat([across * shape[..., :1], down * shape[..., 1:]], dim=-1)
        between = drawn_heat(parts.value[:, :_LIDS], shape, GRID, self.variance)
        inside = (_PLATEAU * torch.minimum(heat[:, COUNT:], between)).clamp(max=1)
        irises = logits[:, COUNT + 1 :] + _NEARNESS * (inside - 1)
        return torch.cat([logits[:, : COUNT + 1], irises], dim=1)

    @staticmethod
    def _inputs(source: Source, heat: Tensor, flows: Tensor) -> Tensor:
        """Return heat against the source's, and the source moved, for each motion: (B, 4 (K + 1), 64, 64)."""
        batch = heat.shape[0]
        difference = heat - source.heat
        difference = torch.cat([torch.zeros_like(difference[:, :1]), difference], dim=1)
        # All motions of a source in one tall flow: no copies of the source.
        moved = warp(source.small, flows.reshape(batch, (PARTS + 1) * GRID, GRID, 2))
        moved = moved.reshape(batch, 3, PARTS + 1, GRID, GRID)
        return torch.cat([difference[:, None], moved], dim=1).transpose(1, 2).flatten(1, 2)
