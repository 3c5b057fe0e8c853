"""Dense motion: from two sets of keypoints to where each pixel comes from, and what was hidden there."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.fomm.blocks import AntiAliasInterpolation2d, Hourglass, coordinate_grid, warp
from models.fomm.config import FommConfig
from models.fomm.keypoint_detector import Points

# Below this a 2x2 determinant counts as zero: a Jacobian from the wire or a forecaster may be singular.
MIN_DETERMINANT = 1e-6


class MotionSource(NamedTuple):
    """Inputs of dense motion from a source picture: (1 or B) rows, all at the resolution of the motion."""

    picture: Tensor
    points: Points
    heatmap: Tensor


class Motion(NamedTuple):
    """`deformation` (B, h, w, 2) says where to sample the source; `occlusion` (B, 1, h, w) in [0, 1]."""

    deformation: Tensor
    occlusion: Tensor


def inverse(matrices: Tensor) -> Tensor:
    """Invert (..., 2, 2) by the adjugate; a determinant near zero is moved away, so that all stays finite."""
    a, b, c, d = matrices.flatten(-2).unbind(-1)
    determinant = a * d - b * c
    floor = torch.where(determinant < 0, -MIN_DETERMINANT, MIN_DETERMINANT)
    determinant = torch.where(determinant.abs() < MIN_DETERMINANT, floor, determinant)
    adjugate = torch.stack([d, -b, -c, a], dim=-1).reshape(matrices.shape)
    return adjugate / determinant[..., None, None]


class DenseMotionNetwork(nn.Module):
    """Combines the first-order motions around the keypoints into one deformation (FOMM eq. 4 to 7)."""

    def __init__(self, config: FommConfig) -> None:
        super().__init__()
        self.kp_variance = config.kp_variance
        self.hourglass = Hourglass(
            config.motion_expansion,
            (config.num_kp + 1) * (config.num_channels + 1),
            config.motion_blocks,
            config.motion_max_features,
        )
        self.mask = nn.Conv2d(self.hourglass.out_features, config.num_kp + 1, 7, padding=3)
        self.occlusion = nn.Conv2d(self.hourglass.out_features, 1, 7, padding=3)
        self.down = AntiAliasInterpolation2d(config.num_channels, config.scale_factor)

    def encode_source(self, picture: Tensor, points: Points) -> MotionSource:
        """Do the part that depends on the source alone: `picture` (B, C, H, W) and its `points`."""
        small = self.down(picture).float()
        grid = _grid(small)
        return MotionSource(small, points, self._heatmap(points, grid))

    def forward(self, source: MotionSource, driving: Points) -> Motion:
        """Return the motion from `driving` (B) back to `source` (1 or B rows)."""
        grid = _grid(source.picture)
        motions = self._sparse_motions(grid, source.points, driving)
        mask, occlusion = self._maps(self._inputs(grid, source, driving, motions))
        deformation = torch.einsum("bkhw,bkhwc->bhwc", mask.float().softmax(dim=1), motions)
        return Motion(deformation, occlusion.float().sigmoid())

    def _maps(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of the mask (B, 1 + K, h, w) and of the occlusion (B, 1, h, w)."""
        features = self.hourglass(inputs)
        return self.mask(features), self.occlusion(features)

    def _heatmap(self, points: Points, grid: Tensor) -> Tensor:
        distance = (grid - points.value[:, :, None, None]).square().sum(dim=-1)
        return torch.exp(-0.5 * distance / self.kp_variance)

    def _sparse_motions(self, grid: Tensor, source: Points, driving: Points) -> Tensor:
        """Return (B, 1 + K, h, w, 2): the background stays, the rest moves with its keypoint (eq. 4)."""
        turn = source.jacobian @ inverse(driving.jacobian)
        offsets = grid - driving.value[:, :, None, None]
        moved = torch.einsum("bkij,bkhwj->bkhwi", turn, offsets) + source.value[:, :, None, None]
        return torch.cat([grid.expand(moved.shape[0], 1, *grid.shape), moved], dim=1)

    def _inputs(self, grid: Tensor, source: MotionSource, driving: Points, motions: Tensor) -> Tensor:
        """Return (B, (1 + K) (1 + C), h, w): per motion a difference of heatmaps and the warped source."""
        batch, count, height, width, _ = motions.shape
        heatmap = self._heatmap(driving, grid) - source.heatmap
        heatmap = torch.cat([torch.zeros_like(heatmap[:, :1]), heatmap], dim=1)
        picture = source.picture.expand(batch, -1, -1, -1)
        # All motions of a frame are sampled as one tall grid, so that the source is not copied for each.
        warped = warp(picture, motions.reshape(batch, count * height, width, 2))
        warped = warped.reshape(batch, -1, count, height, width).transpose(1, 2)
        inputs = torch.cat([heatmap.unsqueeze(2), warped], dim=2)
        return inputs.flatten(1, 2)


def _grid(picture: Tensor) -> Tensor:
    return coordinate_grid(picture.shape[2], picture.shape[3], picture.device)
