"""The inpainting network: warps the source's features at each scale, and paints what was hidden there."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.fomm.blocks import features_at
from models.tps.blocks import DownBlock2d, ResBlock2d, SameBlock2d, UpBlock2d, resize, warp
from models.tps.config import MASKS, TpsConfig
from models.tps.dense_motion import Motion


class Rendered(NamedTuple):
    """`prediction` (B, 3, H, W) in [0, 1], and `deformed`, the source picture merely warped."""

    prediction: Tensor
    deformed: Tensor


class InpaintingNetwork(nn.Module):
    """Draws a source picture, encoded once, under a motion (Zhao and Zhang, section 3.3)."""

    def __init__(self, config: TpsConfig) -> None:
        super().__init__()
        self.dtype = torch.float32
        downs = MASKS - 1
        widths = [
            features_at(level, config.generator_expansion, config.generator_max_features)
            for level in range(MASKS)
        ]
        self.first = SameBlock2d(config.num_channels, widths[0], kernel_size=7)
        self.down_blocks = nn.ModuleList(DownBlock2d(widths[i], widths[i + 1]) for i in range(downs))
        # Below the coarsest level the warped features of each level are appended.
        inputs = [widths[-1], *(2 * width for width in reversed(widths[1:-1]))]
        self.up_blocks = nn.ModuleList(
            UpBlock2d(*pair) for pair in zip(inputs, reversed(widths[:-1]), strict=True)
        )
        self.resblock = nn.ModuleList(ResBlock2d(width) for width in inputs for _ in range(2))
        self.final = nn.Conv2d(widths[0], config.num_channels, 7, padding=3)

    def convolve_in(self, dtype: torch.dtype, *, exact_residuals: bool = False) -> None:
        """Paint in another precision from now on, but for residual blocks that are to stay exact.

        The source is encoded, and everything warped, in float32.
        """
        self.dtype = dtype
        self.up_blocks.to(dtype)
        self.final.to(dtype)
        if not exact_residuals:
            self.resblock.to(dtype)

    def encode_source(self, picture: Tensor) -> tuple[Tensor, ...]:
        """Return the features of `picture` (B, 3, H, W) at every level, fine to coarse, float32."""
        levels = [self.first(picture)]
        for block in self.down_blocks:
            levels.append(block(levels[-1]))
        return tuple(level.float() for level in levels)

    def decode(self, picture: Tensor, levels: tuple[Tensor, ...], motion: Motion) -> Rendered:
        """Draw the B frames of `motion`; `picture` and `levels` have B rows, or 1 that serves them all."""
        *finer, coarsest = (
            self._visible(level, motion.deformation, mask)
            for level, mask in zip(levels, reversed(motion.occlusions), strict=True)
        )
        out = self._painted(coarsest, finer, 1 - motion.occlusions[-1])
        deformed = self._warped(picture, motion.deformation)
        mask = motion.occlusions[-1]
        drawn = self.final(out).float().sigmoid()
        return Rendered(drawn * (1 - mask) + deformed * mask, deformed)

    def _painted(self, out: Tensor, finer: list[Tensor], hidden: Tensor) -> Tensor:
        """Return the frames' features at full size, where the last skip is added to what is `hidden`."""
        out = out.to(self.dtype)
        for index, (block, skip) in enumerate(zip(self.up_blocks, reversed(finer), strict=True)):
            residual = self.resblock[2 * index + 1](self.resblock[2 * index](out))
            out = block(residual.to(self.dtype))
            if index < len(finer) - 1:
                out = torch.cat([out, skip.to(self.dtype)], dim=1)
        return (out * hidden + finer[0]).to(self.dtype)

    def _visible(self, features: Tensor, deformation: Tensor, mask: Tensor) -> Tensor:
        return self._warped(features, deformation) * resize(mask, features.shape[2:])

    def _warped(self, features: Tensor, deformation: Tensor) -> Tensor:
        grid = resize(deformation.permute(0, 3, 1, 2), features.shape[2:]).permute(0, 2, 3, 1)
        return warp(features.expand(grid.shape[0], -1, -1, -1), grid)
