"""The lite network: detector, dense motion, generator. It knows no loss and no optimiser.

Pictures are float (B, 3, 256, 256) in [0, 1]. Motion is estimated at 32x32 for a 64x64 grid; the generator
works at 64x64 and 128x128 and adds its pixels to the warped source picture.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from models.lite.config import LiteConfig
from models.lite.detector import Detector
from models.lite.generator import Generator
from models.lite.geometry import drawn_heat
from models.lite.motion import DenseMotion
from models.lite.structures import GRID, Motion, Points, Rendered, Source, Window

__all__ = ["GRID", "LiteNetwork", "Motion", "Points", "Rendered", "Source", "Window"]


class LiteNetwork(nn.Module):
    """Detector, dense motion and generator together."""

    def __init__(self, config: LiteConfig | None = None) -> None:
        super().__init__()
        self.config = config or LiteConfig()
        self.detector = Detector(self.config)
        self.motion = DenseMotion(self.config)
        self.generator = Generator(self.config)

    def encode(self, picture: Tensor, points: Points | None = None) -> Source:
        """Do everything that depends on source pictures (B, 3, 256, 256) alone."""
        points = self.detector(picture) if points is None else points
        small = F.avg_pool2d(picture, picture.shape[-1] // GRID)
        parts = self.motion.parts(points)
        heat = drawn_heat(parts.value, parts.jacobian, GRID, self.config.variance)
        return Source(picture, small, points.flat(), heat, *self.generator.encode(picture))

    def render(self, source: Source, driving: Points) -> Tensor:
        """Render `driving` points from a source of the same batch: (B, 3, 256, 256), near [0, 1]."""
        return self.rendered(source, driving).frame

    def rendered(self, source: Source, driving: Points) -> Rendered:
        """Do what `render` does, and say where the frame's pixels come from."""
        motion: Motion = self.motion(source, driving, self.config.glance)
        frame, _, alpha = self.generator.parts(source, motion)
        return Rendered(frame, motion.flow, alpha)
