"""The lite network: detector, dense motion, generator. It knows no loss and no optimiser.

Pictures are float (B, 3, 256, 256) in [0, 1]. Motion is estimated on a 64x64 grid; the generator works at
64x64 and 128x128 and blends its pixels with the warped source picture at 256x256.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.lite.blocks import ConvBlock, Lift, ResidualBlock, UNet
from models.lite.config import LiteConfig
from models.lite.geometry import gaussians, local_motions, pixel_grid, resize_flow, warp
from shared.keypoints import COUNT, POSITIONS

GRID = 64
# Scales the residual flow to what it is for: a tenth of the picture's half width.
_FINE_MOTION = 0.1


class Points(NamedTuple):
    """Keypoints of a batch: value (B, 10, 2), jacobian (B, 10, 2, 2)."""

    value: Tensor
    jacobian: Tensor

    @classmethod
    def from_flat(cls, flat: Tensor) -> Points:
        """Split (B, 60)."""
        return cls(flat[:, :POSITIONS].reshape(-1, COUNT, 2), flat[:, POSITIONS:].reshape(-1, COUNT, 2, 2))

    def flat(self) -> Tensor:
        """Join to (B, 60)."""
        return torch.cat([self.value.flatten(1), self.jacobian.flatten(1)], dim=1)


@dataclass(frozen=True)
class Source:
    """All that depends on the source picture alone: computed once, used for every frame."""

    picture: Tensor  # (B, 3, 256, 256)
    small: Tensor  # (B, 3, 64, 64)
    points: Points
    gaussians: Tensor  # (B, 10, 64, 64)
    fine: Tensor  # (B, C, 64, 64)
    coarse: Tensor  # (B, C, 32, 32)

    def dense(self) -> Source:
        """Return the same in row-major memory, as other engines read it: no copy at each change of source."""
        kept = (self.picture, self.small, self.gaussians, self.fine, self.coarse)
        picture, small, gaussians, fine, coarse = (tensor.contiguous() for tensor in kept)
        return Source(picture, small, self.points, gaussians, fine, coarse)

    def expand(self, batch: int) -> Source:
        """Repeat a single source (B = 1) over a batch, without copying it."""

        def repeated(tensor: Tensor) -> Tensor:
            return tensor.expand(batch, *tensor.shape[1:])

        return Source(
            repeated(self.picture),
            repeated(self.small),
            Points(repeated(self.points.value), repeated(self.points.jacobian)),
            repeated(self.gaussians),
            repeated(self.fine),
            repeated(self.coarse),
        )


class Motion(NamedTuple):
    """Motion at 64x64: flow (B, 64, 64, 2), occlusion (B, 1, 64, 64) in [0, 1], features (B, C, 64, 64)."""

    flow: Tensor
    occlusion: Tensor
    features: Tensor


class Window(NamedTuple):
    """The part of the 64x64 grid that training renders: top, left and size, multiples of 4."""

    top: int = 0
    left: int = 0
    size: int = GRID


class Detector(nn.Module):
    """Finds K points and their Jacobians from the picture at 128x128."""

    def __init__(self, config: LiteConfig) -> None:
        super().__init__()
        self.temperature = config.temperature
        self.body = UNet(12, config.detector)
        self.heatmaps = nn.Conv2d(config.detector[0], COUNT, 3, padding=1)
        self.jacobians = nn.Conv2d(config.detector[0], 4 * COUNT, 1)
        nn.init.zeros_(self.jacobians.weight)
        with torch.no_grad():
            assert self.jacobians.bias is not None
            self.jacobians.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 1.0]).repeat(COUNT))

    def forward(self, picture: Tensor) -> Points:
        """Return the points of pictures (B, 3, 256, 256): the expectation over each softmax heatmap."""
        features = self.body(F.pixel_unshuffle(F.avg_pool2d(picture, picture.shape[-1] // (2 * GRID)), 2))
        # In float32 even while training in bfloat16: the temperature makes ten of every rounding error.
        with torch.autocast(features.device.type, enabled=False) if self.training else nullcontext():
            logits = self.heatmaps(features.float()).flatten(2)
        weights = torch.softmax(logits / self.temperature, dim=-1)
        grid = pixel_grid(GRID, GRID, weights).reshape(-1, 2)
        value = torch.stack([(weights * grid[:, axis]).sum(-1) for axis in range(2)], dim=-1)
        maps = self.jacobians(features).float().reshape(-1, COUNT, 4, GRID * GRID)
        jacobian = (weights[:, :, None] * maps).sum(-1).reshape(-1, COUNT, 2, 2)
        return Points(value, jacobian)


class DenseMotion(nn.Module):
    """Chooses for every pixel between the points' motions and none; says what the source cannot show.

    A residual flow is added: lips and lids move in ways that no mixture of ten affine motions does.
    """

    def __init__(self, config: LiteConfig) -> None:
        super().__init__()
        self.variance = config.variance
        self.body = UNet(4 * (COUNT + 1), config.motion)
        self.mask = nn.Conv2d(config.motion[0], COUNT + 1, 3, padding=1)
        self.occlusion = nn.Conv2d(config.motion[0], 1, 3, padding=1)
        self.residual = nn.Conv2d(config.motion[0], 2, 3, padding=1)
        nn.init.zeros_(self.residual.weight)
        assert self.residual.bias is not None
        nn.init.zeros_(self.residual.bias)

    def forward(self, source: Source, driving: Points) -> Motion:
        """Return the motion from `driving` points back to the source (both of batch B)."""
        batch = len(driving.value)
        heat = gaussians(driving.value, GRID, GRID, self.variance) - source.gaussians
        heat = torch.cat([torch.zeros_like(heat[:, :1]), heat], dim=1)
        motions = local_motions(source.points, driving, GRID, GRID)
        copies = source.small[:, None].expand(-1, COUNT + 1, -1, -1, -1).flatten(0, 1)
        warped = warp(copies, motions.flatten(0, 1)).reshape(batch, COUNT + 1, 3, GRID, GRID)
        features = self.body(torch.cat([heat[:, :, None], warped], dim=2).flatten(1, 2))
        mask = torch.softmax(self.mask(features).float(), dim=1)
        flow = (mask[..., None] * motions).sum(1)
        flow = flow + _FINE_MOTION * self.residual(features).float().permute(0, 2, 3, 1)
        return Motion(flow, torch.sigmoid(self.occlusion(features).float()), features)


class Generator(nn.Module):
    """Renders a frame from warped source features, and from the warped source where that is good enough.

    frame = alpha (warped + correction) + (1 - alpha) pixels. The nearer alpha is to 1, the less the pixels
    learn: trained without the correction, alpha ended at 0.89 on average, frames hardly better than the warp.
    """

    def __init__(self, config: LiteConfig) -> None:
        super().__init__()
        fine, coarse, deep = config.generator
        self.encode_fine = nn.Sequential(ConvBlock(48, fine), ResidualBlock(fine))
        self.encode_coarse = nn.Sequential(ConvBlock(fine, coarse), ResidualBlock(coarse))
        self.hint = nn.Conv2d(config.motion[0], fine, 1)
        self.enter = ConvBlock(fine, fine)
        self.middle = nn.Sequential(ConvBlock(fine, coarse), ResidualBlock(coarse))
        self.deep = nn.Sequential(ConvBlock(coarse, deep), ConvBlock(deep, deep), ConvBlock(deep, deep))
        self.lift_coarse = Lift(deep, coarse)
        self.refine = ConvBlock(coarse, coarse)
        self.lift_fine = Lift(coarse, fine)
        self.expand = nn.Conv2d(fine, 4 * config.detail, 1)
        self.detail = nn.Sequential(
            ConvBlock(config.detail + 12, config.detail), nn.Conv2d(config.detail, 28, 3, padding=1)
        )
        self._start_blended()

    def _start_blended(self) -> None:
        """Start near the warped source, so that early pictures are sharp; equal sub-pixels, so no grid."""
        last = self.detail[1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        with torch.no_grad():
            last.weight.copy_(0.3 * last.weight[::4].repeat_interleave(4, 0))
            last.weight[16:] = 0.0
            last.bias.zero_()
            last.bias[12:16] = 1.0
            self.expand.weight.copy_(self.expand.weight[::4].repeat_interleave(4, 0))

    def encode(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Return the source's features at 64x64 and at 32x32, in the picture's precision."""
        fine = self.encode_fine(F.pixel_unshuffle(picture, 4).to(self.precision))
        return fine.to(picture.dtype), self.encode_coarse(F.avg_pool2d(fine, 2)).to(picture.dtype)

    @property
    def precision(self) -> torch.dtype:
        """The type its convolutions work in; motion, warps and blending stay in the picture's."""
        return self.expand.weight.dtype

    def forward(self, source: Source, motion: Motion, window: Window | None = None) -> tuple[Tensor, Tensor]:
        """Return the frame and the warped source picture, both (B, 3, 4 size, 4 size) of the window."""
        top, left, size = window or Window()
        rows, columns = slice(top, top + size), slice(left, left + size)
        flow, occlusion = motion.flow[:, rows, columns], motion.occlusion[:, :, rows, columns]
        fine = warp(source.fine, flow) * occlusion
        half = F.avg_pool2d(flow.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
        coarse = warp(source.coarse, half) * F.avg_pool2d(occlusion, 2)
        hint = self.hint(motion.features[:, :, rows, columns].to(self.precision))
        body = self._body(fine.to(self.precision) + hint, coarse.to(self.precision))
        full = resize_flow(motion.flow, 4 * GRID, 4 * GRID)
        crop = full[:, 4 * top : 4 * (top + size), 4 * left : 4 * (left + size)]
        warped = warp(source.picture, crop)
        return self._blend(body, warped), warped

    def _body(self, fine: Tensor, coarse: Tensor) -> Tensor:
        fine = self.enter(fine)
        coarse = self.middle(F.avg_pool2d(fine, 2)) + coarse
        coarse = self.refine(self.lift_coarse(self.deep(F.avg_pool2d(coarse, 2)), coarse))
        return torch.as_tensor(self.lift_fine(coarse, fine))

    def _blend(self, body: Tensor, warped: Tensor) -> Tensor:
        sharp = F.pixel_unshuffle(warped, 2).to(self.precision)
        features = torch.cat([F.pixel_shuffle(self.expand(body), 2), sharp], dim=1)
        out = F.pixel_shuffle(self.detail(features), 2).float()
        pixels, alpha, correction = torch.sigmoid(out[:, :3]), torch.sigmoid(out[:, 3:4]), out[:, 4:]
        return alpha * (warped + correction) + (1 - alpha) * pixels


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
        heat = gaussians(points.value, GRID, GRID, self.config.variance)
        return Source(picture, small, points, heat, *self.generator.encode(picture))

    def render(self, source: Source, driving: Points) -> Tensor:
        """Render `driving` points (B, ...) from a source of the same batch: (B, 3, 256, 256) in [0, 1]."""
        frame, _ = self.generator(source, self.motion(source, driving))
        return torch.as_tensor(frame)
