"""The published discriminator: judges patches of a picture, and may see where its keypoints are."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from models.fomm.blocks import AntiAliasInterpolation2d, coordinate_grid

SCALES = (1.0,)
_BLOCKS = 4
# The instance norm of the last of the unpadded blocks needs two patches each way.
SMALLEST = 61


def _spectral(conv: nn.Conv2d, wanted: bool) -> nn.Module:
    return parametrizations.spectral_norm(conv) if wanted else conv


class Block(nn.Module):
    """4x4 convolution, instance norm but in the first block, leaky ReLU, and pooling but in the last."""

    def __init__(self, inputs: int, outputs: int, *, first: bool, last: bool, spectral: bool) -> None:
        super().__init__()
        self.conv = _spectral(nn.Conv2d(inputs, outputs, 4), spectral)
        self.norm = nn.Identity() if first else nn.InstanceNorm2d(outputs, affine=True)
        self.pool = not last

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, about H/2, W/2)."""
        out = F.leaky_relu(self.norm(self.conv(x)), 0.2)
        return F.avg_pool2d(out, 2) if self.pool else out


class Discriminator(nn.Module):
    """Judges one scale. With `keypoints` > 0 it sees a Gaussian of each keypoint besides the picture."""

    def __init__(self, expansion: int, max_features: int, keypoints: int, variance: float) -> None:
        super().__init__()
        # As published: normalised spectra without keypoints (vox-256), none with them (vox-adv-256).
        spectral = not keypoints
        self.variance = variance
        self.keypoints = keypoints
        widths = [min(max_features, expansion << level) for level in range(1, _BLOCKS + 1)]
        inputs = [3 + keypoints, *widths[:-1]]
        self.down_blocks = nn.ModuleList(
            Block(i, o, first=level == 0, last=level == _BLOCKS - 1, spectral=spectral)
            for level, (i, o) in enumerate(zip(inputs, widths, strict=True))
        )
        self.conv = _spectral(nn.Conv2d(widths[-1], 1, 1), spectral)

    def forward(self, pictures: Tensor, points: Tensor) -> list[Tensor]:
        """Return each block's features of `pictures` (B, 3, H, W), and last the judgement of each patch.

        `points` (B, K, 2) are looked at only by a discriminator of keypoints.
        """
        maps = [pictures]
        if self.keypoints:
            maps = [torch.cat([pictures, self._gaussians(pictures, points)], dim=1)]
        for block in self.down_blocks:
            maps.append(block(maps[-1]))
        return [*maps[1:], self.conv(maps[-1])]

    def _gaussians(self, pictures: Tensor, points: Tensor) -> Tensor:
        grid = coordinate_grid(pictures.shape[2], pictures.shape[3], pictures.device)
        distance = (grid - points[:, :, None, None]).square().sum(-1)
        return torch.exp(-0.5 * distance / self.variance)


class MultiScaleDiscriminator(nn.Module):
    """One `Discriminator` for each scale of the picture; published: the full one only."""

    def __init__(
        self,
        keypoints: int = 0,
        *,
        scales: tuple[float, ...] = SCALES,
        expansion: int = 32,
        max_features: int = 512,
        variance: float = 0.01,
    ) -> None:
        super().__init__()
        self.downs = nn.ModuleList(AntiAliasInterpolation2d(3, scale) for scale in scales)
        self.discs = nn.ModuleDict(
            {
                f"{scale:g}".replace(".", "-"): Discriminator(expansion, max_features, keypoints, variance)
                for scale in scales
            }
        )

    def forward(self, pictures: Tensor, points: Tensor) -> list[list[Tensor]]:
        """Return, for each scale, what `Discriminator` does."""
        return [
            disc(down(pictures), points) for down, disc in zip(self.downs, self.discs.values(), strict=True)
        ]
