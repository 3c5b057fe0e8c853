"""The lite network's training objective: one module, so that one process or many can run it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.lite.geometry import warp
from models.lite.network import GRID, LiteNetwork, Points, Window
from models.perceptual import Perceptual
from models.training.anchors import anchor_loss, emphasis, separation_loss
from models.training.losses import AffineWarp, equivariance, pyramid_l1

_WINDOW = GRID // 2
_EMPHASIS = 4.0


def random_window(generator: torch.Generator) -> Window:
    """Return a 128x128 part of the picture: half the time near the middle, where faces are, else anywhere."""
    steps = (GRID - _WINDOW) // 4 + 1
    low, high = (2, steps - 2) if torch.rand((), generator=generator) < 0.5 else (0, steps)
    top, left = torch.randint(low, high, (2,), generator=generator).tolist()
    return Window(4 * top, 4 * left, _WINDOW)


class LiteObjective(nn.Module):
    """Reconstruct a driving frame from another frame of the same clip.

    10 pyramid L1 of the rendered window + 5 of the whole warped source at 64x64 + 6 SqueezeNet feature
    distance + 10 and 5 equivariance of values and Jacobians, on half of the batch + 5 separation of points.
    Detection and motion see the whole picture; only the generator, the costly part, is trained on a window of
    it, at the true scale. Where the marks of a face are known, its eyes and mouth count up to five times, and
    10 anchor loss keeps points on them.
    """

    def __init__(self, network: LiteNetwork, perceptual: Path | None) -> None:
        super().__init__()
        self.network = network
        self.perceptual = Perceptual(perceptual) if perceptual else None

    def forward(
        self, source: Tensor, driving: Tensor, window: Window | None, marks: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the weighted losses of pictures (B, 3, 256, 256) in [0, 1]; their sum is minimised.

        `marks` (B, 2, 5, 2) are those of source and driving (see `find_marks`).
        """
        if marks is None:
            marks = torch.full((len(source), 2, 5, 2), torch.nan, device=source.device)
        weight = 1 + _EMPHASIS * emphasis(marks[:, 1], driving.shape[-1])
        batch, half = len(source), (len(source) + 1) // 2
        affine = AffineWarp(half, driving)
        found = self.network.detector(torch.cat([source, driving, affine.warp(driving[:half])]))
        of_source, of_driving, of_warped = (
            Points(found.value[part], found.jacobian[part])
            for part in (slice(batch), slice(batch, 2 * batch), slice(2 * batch, None))
        )
        encoded = self.network.encode(source, of_source)
        motion = self.network.motion(encoded, of_driving)
        frame, _ = self.network.generator(encoded, motion, window)
        top, left, size = window or Window()
        rows, columns = slice(4 * top, 4 * (top + size)), slice(4 * left, 4 * (left + size))
        wanted, counts = driving[:, :, rows, columns], weight[:, :, rows, columns]
        pool = driving.shape[-1] // GRID
        warped = warp(encoded.small, motion.flow)
        value, jacobian = equivariance(
            Points(of_driving.value[:half], of_driving.jacobian[:half]), of_warped, affine
        )
        losses = {
            "pixels": 10 * pyramid_l1(frame, wanted, weight=counts),
            "warp": 5 * pyramid_l1(warped, F.avg_pool2d(driving, pool), 3, F.avg_pool2d(weight, pool)),
            "value": 10 * value,
            "jacobian": 5 * jacobian.clamp(max=4),
            "anchors": 10 * anchor_loss(found.value[: 2 * batch], marks.transpose(0, 1).flatten(0, 1)),
            "separation": 5 * separation_loss(found.value[: 2 * batch]),
        }
        if self.perceptual:
            losses["features"] = 6 * self.perceptual(frame, wanted, counts)
        return losses
