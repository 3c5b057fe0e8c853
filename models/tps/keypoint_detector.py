"""The keypoint detector: where the points of all transformations are."""

from __future__ import annotations

from torch import Tensor, nn

from models.tps.config import TpsConfig
from models.tps.resnet import ResNet18


class KPDetector(nn.Module):
    """Pictures (B, 3, H, W) in [0, 1] -> points (B, K, 2) in (-1, 1) as (x, y), `GROUP` a transformation."""

    def __init__(self, config: TpsConfig) -> None:
        super().__init__()
        self.fg_encoder = ResNet18(config.num_channels, 2 * config.num_kp, config.detector_width)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the points, float32."""
        places: Tensor = self.fg_encoder(pictures).float()
        return 2 * places.sigmoid().reshape(places.shape[0], -1, 2) - 1
