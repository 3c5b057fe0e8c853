"""Dense motion: from two sets of points to where each pixel comes from, and what was hidden at each scale."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.fomm.blocks import AntiAliasInterpolation2d, coordinate_grid
from models.tps.blocks import Hourglass, UpBlock2d, warp
from models.tps.config import GROUP, MASKS, TpsConfig
from models.tps.splines import Splines


class MotionSource(NamedTuple):
    """Inputs of dense motion from a source picture: 1 or B rows, all at the resolution of the motion."""

    picture: Tensor
    points: Tensor
    heatmap: Tensor


class Motion(NamedTuple):
    """Motion from the source to a frame, at the resolution (h, w) of the motion but for the occlusion.

    `contributions` (B, 1 + K, h, w) weigh the still picture and each spline; they make `deformation`
    (B, h, w, 2), which says where to sample the source. `occlusions`, in [0, 1] and coarse to fine, are four
    maps (B, 1, ., .), the last of the picture's own size.
    """

    contributions: Tensor
    deformation: Tensor
    occlusions: tuple[Tensor, ...]

    def split(self, size: int) -> Iterator[Motion]:
        """Yield the motions of `size` frames after the other."""
        parts = (torch.split(self.contributions, size), torch.split(self.deformation, size))
        masks = zip(*(torch.split(each, size) for each in self.occlusions), strict=True)
        for contributions, deformation, occlusions in zip(*parts, masks, strict=True):
            yield Motion(contributions, deformation, occlusions)


class DenseMotionNetwork(nn.Module):
    """Combines the splines through the points into one deformation (Zhao and Zhang, eq. 5 and 6)."""

    def __init__(self, config: TpsConfig) -> None:
        super().__init__()
        self.kp_variance = config.kp_variance
        motions = config.num_tps + 1
        self.hourglass = Hourglass(
            config.motion_expansion,
            1 + config.num_kp + motions * config.num_channels,
            config.motion_blocks,
            config.motion_max_features,
        )
        widths = self.hourglass.out_features
        self.maps = nn.Conv2d(widths[-1], motions, 7, padding=3)
        finer = [widths[-1] >> doubling for doubling in range(config.doublings + 1)]
        self.up = nn.ModuleList(UpBlock2d(*pair) for pair in itertools.pairwise(finer))
        seen = [*widths[len(finer) - 1 - MASKS :], *finer[1:]]
        self.occlusion = nn.ModuleList(nn.Conv2d(width, 1, 7, padding=3) for width in seen)
        self.down = AntiAliasInterpolation2d(config.num_channels, config.scale_factor)

    def encode_source(self, picture: Tensor, points: Tensor) -> MotionSource:
        """Do the part that depends on the source alone: `picture` (B, C, H, W), its `points` (B, K, 2)."""
        small = self.down(picture).float()
        return MotionSource(small, points, self._heatmap(points, _grid(small)))

    def forward(self, source: MotionSource, driving: Tensor, still: Tensor | None = None) -> Motion:
        """Return the motion from `driving` (B, K, 2) back to `source` (1 or B rows).

        `still` (B, 3, 3), where it is known, is the motion of what no spline moves: of the background.
        """
        motions = self.transformations(source, driving, still)
        maps, occlusions = self._maps(self._inputs(source, driving, motions))
        contributions = maps.softmax(dim=1)
        deformation = torch.einsum("bkhw,bkhwc->bhwc", contributions, motions)
        return Motion(contributions, deformation, tuple(each.sigmoid() for each in occlusions))

    def transformations(self, source: MotionSource, driving: Tensor, still: Tensor | None = None) -> Tensor:
        """Return (B, 1 + K, h, w, 2): the background, and each spline from `driving` to the source."""
        grid = _grid(source.picture)
        splines = Splines.fit(_groups(driving), _groups(source.points))
        carried = splines(grid.reshape(-1, 2))
        moved = carried.reshape(*carried.shape[:2], *grid.shape)
        background = grid if still is None else _projected(grid, still)
        return torch.cat([background.expand(moved.shape[0], 1, *grid.shape), moved], dim=1)

    def heatmaps(self, source: MotionSource, driving: Tensor) -> Tensor:
        """Return (B, 1 + K, h, w): zeros for the background, then driving minus source for each point."""
        heatmap = self._heatmap(driving, _grid(source.picture)) - source.heatmap
        return torch.cat([torch.zeros_like(heatmap[:, :1]), heatmap], dim=1)

    def deformed(self, source: MotionSource, motions: Tensor) -> Tensor:
        """Return the small source picture under each of `motions` (B, N, h, w, 2): (B, N, C, h, w)."""
        batch, count, height, width, _ = motions.shape
        picture = source.picture.expand(batch, -1, -1, -1)
        # All motions of a frame are sampled as one tall grid, so that the source is not copied for each.
        warped = warp(picture, motions.reshape(batch, count * height, width, 2))
        return warped.reshape(batch, -1, count, height, width).transpose(1, 2)

    def _inputs(self, source: MotionSource, driving: Tensor, motions: Tensor) -> Tensor:
        warped = self.deformed(source, motions).flatten(1, 2)
        return torch.cat([self.heatmaps(source, driving), warped], dim=1)

    def _maps(self, inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the logits of the contributions (B, 1 + K, h, w), and of each occlusion map."""
        stages = self.hourglass(inputs)
        seen = stages[len(self.up) - MASKS :]
        for block in self.up:
            seen.append(block(seen[-1]))
        return self.maps(stages[-1]), [conv(x) for conv, x in zip(self.occlusion, seen, strict=True)]

    def _heatmap(self, points: Tensor, grid: Tensor) -> Tensor:
        distance = (grid - points[:, :, None, None]).square().sum(dim=-1)
        return torch.exp(-0.5 * distance / self.kp_variance)


def _groups(points: Tensor) -> Tensor:
    return points.reshape(points.shape[0], -1, GROUP, 2)


def _projected(grid: Tensor, still: Tensor) -> Tensor:
    """Carry `grid` (h, w, 2) by the homogeneous matrices `still` (B, 3, 3): (B, 1, h, w, 2)."""
    places = torch.cat([grid, torch.ones_like(grid[..., :1])], dim=-1)
    moved = torch.einsum("bij,hwj->bhwi", still, places)
    return (moved[..., :2] / moved[..., 2:]).unsqueeze(1)


def _grid(picture: Tensor) -> Tensor:
    return coordinate_grid(picture.shape[2], picture.shape[3], picture.device)
