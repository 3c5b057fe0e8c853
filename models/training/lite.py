"""The lite network's training objective: one module, so that one process or many can run it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.lite.geometry import warp
from models.lite.network import GRID, LiteNetwork, Points, Window
from models.perceptual import Perceptual
from models.training.losses import AffineWarp, equivariance, pyramid_l1

_WINDOW = GRID // 2


def random_window(generator: torch.Generator) -> Window:
    """Return a 128x128 part of the picture: half the time near the middle, where faces are, else anywhere."""
    steps = (GRID - _WINDOW) // 4 + 1
    low, high = (2, steps - 2) if torch.rand((), generator=generator) < 0.5 else (0, steps)
    top, left = torch.randint(low, high, (2,), generator=generator).tolist()
    return Window(4 * top, 4 * left, _WINDOW)


class LiteObjective(nn.Module):
    """Reconstruct a driving frame from another frame of the same clip.

    10 pyramid L1 of the rendered window + 5 of the whole warped source at 64x64 + 4 SqueezeNet feature
    distance + 10 and 5 equivariance of values and Jacobians. Detection and motion always see the whole
    picture; only the generator, the costly part, is trained on a window of it, at the true scale.
    """

    def __init__(self, network: LiteNetwork, perceptual: Path | None) -> None:
        super().__init__()
        self.network = network
        self.perceptual = Perceptual(perceptual) if perceptual else None

    def forward(self, source: Tensor, driving: Tensor, window: Window | None) -> dict[str, Tensor]:
        """Return the weighted losses of pictures (B, 3, 256, 256) in [0, 1]; their sum is minimised."""
        batch = len(source)
        affine = AffineWarp(batch, driving)
        found = self.network.detector(torch.cat([source, driving, affine.warp(driving)]))
        of_source, of_driving, of_warped = (
            Points(found.value[part], found.jacobian[part])
            for part in (slice(batch), slice(batch, 2 * batch), slice(2 * batch, None))
        )
        encoded = self.network.encode(source, of_source)
        motion = self.network.motion(encoded, of_driving)
        frame, _ = self.network.generator(encoded, motion, window)
        top, left, size = window or Window()
        wanted = driving[:, :, 4 * top : 4 * (top + size), 4 * left : 4 * (left + size)]
        small = F.avg_pool2d(driving, driving.shape[-1] // GRID)
        value, jacobian = equivariance(of_driving, of_warped, affine)
        losses = {
            "pixels": 10 * pyramid_l1(frame, wanted),
            "warp": 5 * pyramid_l1(warp(encoded.small, motion.flow), small, levels=3),
            "value": 10 * value,
            "jacobian": 5 * jacobian.clamp(max=4),
        }
        if self.perceptual:
            losses["features"] = 4 * self.perceptual(frame, wanted)
        return losses
