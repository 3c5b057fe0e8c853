"""Dense motion in a volume: from two sets of keypoints to where each cell of the features comes from."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.fomm.blocks import Pairs
from models.nth.blocks import Hourglass3d, volume_grid, warp
from models.nth.config import NthConfig


class MotionSource(NamedTuple):
    """Inputs of dense motion from a source, in 1 or B rows.

    `features` (., channels, D, h, w) are its features in few channels, `still` the same where nothing moves;
    `keypoints` (., K, 3) and their `heatmap` (., K, D, h, w).
    """

    features: Tensor
    still: Tensor
    keypoints: Tensor
    heatmap: Tensor


class Motion(NamedTuple):
    """`mask` (B, 1 + K, D, h, w) weighs the motions; they make `deformation` (B, D, h, w, 3).

    `occlusion` (B, 1, h, w), in [0, 1], tells what was hidden.
    """

    mask: Tensor
    deformation: Tensor
    occlusion: Tensor


class DenseMotionNetwork(nn.Module):
    """Combines the shifts of the keypoints into one deformation of the feature volume."""

    conv_then_norm: ClassVar[Pairs] = (("compress", "norm"),)

    def __init__(self, config: NthConfig) -> None:
        super().__init__()
        self.dtype = torch.float32
        self.kp_variance = config.kp_variance
        motions = config.num_kp + 1
        self.hourglass = Hourglass3d(
            config.motion_expansion,
            motions * (config.motion_channels + 1),
            config.motion_blocks,
            config.motion_max_features,
        )
        features = self.hourglass.out_features
        self.mask = nn.Conv3d(features, motions, 7, padding=3)
        self.compress = nn.Conv3d(config.feature_channels, config.motion_channels, 1)
        self.norm = nn.BatchNorm3d(config.motion_channels)
        self.occlusion = nn.Conv2d(features * config.depth, 1, 7, padding=3)

    def convolve_in(self, dtype: torch.dtype) -> None:
        """Do the convolutions of a frame in another precision from now on; positions stay float32."""
        self.dtype = dtype
        for part in (self.hourglass, self.mask, self.occlusion):
            part.to(dtype)

    def encode_source(self, volume: Tensor, keypoints: Tensor) -> MotionSource:
        """Do the part that depends on the source alone: its features `volume`, its `keypoints` (B, K, 3)."""
        features = F.relu(self.norm(self.compress(volume))).float()
        grid = _grid(features)
        still = warp(features, grid.expand(features.shape[0], *grid.shape))
        return MotionSource(features, still, keypoints, self._heatmap(keypoints, grid))

    def forward(self, source: MotionSource, driving: Tensor) -> Motion:
        """Return the motion from `driving` (B, K, 3) back to `source` (1 or B rows)."""
        grid = _grid(source.features)
        shifts = (source.keypoints - driving)[:, :, None, None, None]
        moved = grid + shifts
        scores, occlusion = self._maps(self._inputs(grid, source, driving, moved))
        mask = scores.float().softmax(dim=1)
        # Every motion is a shift, so their mean is the grid and the mean shift.
        mean_shift = torch.einsum("bkdhw,bkc->bdhwc", mask[:, 1:], shifts.flatten(2))
        return Motion(mask, grid + mean_shift, occlusion.float().sigmoid())

    def _maps(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of the mask (B, 1 + K, D, h, w) and of the occlusion (B, 1, h, w)."""
        features = self.hourglass(inputs.to(self.dtype))
        return self.mask(features), self.occlusion(features.flatten(1, 2))

    def _heatmap(self, keypoints: Tensor, grid: Tensor) -> Tensor:
        distance = (grid - keypoints[:, :, None, None, None]).square().sum(dim=-1)
        return torch.exp(-0.5 * distance / self.kp_variance)

    def _inputs(self, grid: Tensor, source: MotionSource, driving: Tensor, moved: Tensor) -> Tensor:
        """Return (B, (1 + K) (1 + C), D, h, w): per motion a difference of heatmaps, and warped features."""
        batch, count, *size = moved.shape[:-1]
        heatmap = self._heatmap(driving, grid) - source.heatmap
        heatmap = torch.cat([torch.zeros_like(heatmap[:, :1]), heatmap], dim=1)
        features = source.features.expand(batch, -1, -1, -1, -1)
        # All motions of a frame are sampled as one deep grid, so that the features are not copied for each.
        warped = warp(features, moved.flatten(1, 2))
        warped = warped.reshape(batch, -1, count, *size).transpose(1, 2)
        still = source.still.expand(batch, -1, -1, -1, -1).unsqueeze(1)
        inputs = torch.cat([heatmap.unsqueeze(2), torch.cat([still, warped], dim=1)], dim=2)
        return inputs.flatten(1, 2)


def _grid(volume: Tensor) -> Tensor:
    depth, height, width = volume.shape[2:]
    return volume_grid(depth, height, width, volume.device)
