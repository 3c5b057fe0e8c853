"""The keypoint detector: where the parts of the picture are, and how each is locally turned and stretched."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.fomm.blocks import AntiAliasInterpolation2d, Hourglass, coordinate_grid
from models.fomm.config import FommConfig


class Points(NamedTuple):
    """Keypoints of B pictures: `value` (B, K, 2) in [-1, 1] as (x, y), `jacobian` (B, K, 2, 2); float32."""

    value: Tensor
    jacobian: Tensor

    @classmethod
    def from_flat(cls, flat: Tensor) -> Points:
        """Split flat vectors (B, 6K): all positions, then all Jacobians row-major."""
        count = flat.shape[1] // 6
        return cls(flat[:, : 2 * count].reshape(-1, count, 2), flat[:, 2 * count :].reshape(-1, count, 2, 2))

    def flat(self) -> Tensor:
        """Return the flat vectors (B, 6K)."""
        return torch.cat([self.value.flatten(1), self.jacobian.flatten(1)], dim=1)


class KPDetector(nn.Module):
    """Pictures (B, 3, H, W) in [0, 1] -> `Points`: one heatmap and one Jacobian map per keypoint."""

    def __init__(self, config: FommConfig) -> None:
        super().__init__()
        self.temperature = config.temperature
        self.predictor = Hourglass(
            config.detector_expansion,
            config.num_channels,
            config.detector_blocks,
            config.detector_max_features,
        )
        maps = 1 if config.single_jacobian_map else config.num_kp
        # No padding: the published heatmaps leave out the three outermost pixels of the 64x64 features.
        self.kp = nn.Conv2d(self.predictor.out_features, config.num_kp, 7)
        self.jacobian = nn.Conv2d(self.predictor.out_features, 4 * maps, 7)
        # Training starts from the identity.
        nn.init.zeros_(self.jacobian.weight)
        self.jacobian.bias = nn.Parameter(torch.tensor([1.0, 0.0, 0.0, 1.0]).repeat(maps))
        self.down = AntiAliasInterpolation2d(config.num_channels, config.scale_factor)

    def forward(self, pictures: Tensor) -> Points:
        """Return the centre of mass of each heatmap, and the Jacobians averaged under it."""
        features = self.predictor(self.down(pictures))
        scores: Tensor = self.kp(features).float()
        batch, _, height, width = scores.shape
        heatmap = (scores.flatten(2) / self.temperature).softmax(dim=2)
        value = heatmap @ coordinate_grid(height, width, scores.device).reshape(-1, 2)
        maps: Tensor = self.jacobian(features).float().reshape(batch, -1, 4, height * width)
        jacobian = (maps @ heatmap.unsqueeze(-1)).reshape(batch, -1, 2, 2)
        return Points(value, jacobian)
