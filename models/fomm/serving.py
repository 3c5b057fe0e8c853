"""The First Order Motion Model as it serves: the published arithmetic, rearranged to cost less.

`ServedFomm` is made from a loaded `Fomm`, so public checkpoints load into the published layers and the names
here are our own. The detector, and everything about positions, stays float32: keypoints of two machines must
agree, and half precision cannot tell neighbouring positions apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.fomm.blocks import Hourglass, ResBlock2d, SameBlock2d, warp
from models.fomm.dense_motion import DenseMotionNetwork
from models.fomm.generator import OcclusionAwareGenerator, Rendered, SourceState, resize
from models.fomm.keypoint_detector import KPDetector, Points
from models.fomm.layers import DoublingConvolution, DoublingOutput, MatrixConvolution
from models.fomm.model import Fomm
from models.inference import prepare

HALVES = (torch.bfloat16, torch.float16)
# Up to this many pixels a layer of an hourglass is bound by its weights, from the next size on by arithmetic.
_FEW_PIXELS = 64
_ROUNDS = 6
# A precision that loses exactness must win clearly.
_CLEARLY_FASTER = 0.93


class ServedFomm(nn.Module):
    """Detector and generator, ready to serve; `dtype` is that of the renderer's convolutions."""

    def __init__(self, model: Fomm, device: torch.device | str, dtype: torch.dtype) -> None:
        super().__init__()
        ready = prepare(model, device)
        small = round(model.config.image_size * model.config.scale_factor)
        _rearrange(ready.kp_detector.predictor, small, torch.float32)
        motion = ready.generator.dense_motion_network
        _rearrange(motion.hourglass, small, dtype)
        for network in (motion.hourglass, motion.mask, motion.occlusion):
            network.to(dtype)
        self.kp_detector: KPDetector = ready.kp_detector
        self.generator = ServedGenerator(ready.generator, motion, dtype)


class ServedGenerator(nn.Module):
    """The generator: `encode_source` once, then `decode` for every frame."""

    def __init__(
        self, ready: OcclusionAwareGenerator, motion: DenseMotionNetwork, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.dense_motion_network = motion
        self.first, self.down_blocks = ready.first, ready.down_blocks
        self.bottleneck = Residuals(ready.bottleneck, dtype)
        *before, last = [_conv(block) for block in ready.up_blocks]
        self.up_blocks = nn.Sequential(*(DoublingConvolution(conv) for conv in before)).to(dtype)
        self.final = DoublingOutput(last, ready.final).to(dtype)

    def encode_source(self, picture: Tensor, points: Points) -> SourceState:
        """Do what depends on the source alone: `picture` (1, 3, H, W) in [0, 1] and its `points`."""
        features = self.first(picture)
        for block in self.down_blocks:
            features = block(features)
        features = features.contiguous()  # the layout that grid_sample is fastest with on a CPU
        return SourceState(features, self.dense_motion_network.encode_source(picture, points))

    def decode(self, state: SourceState, driving: Points) -> Rendered:
        """Draw the frames at `driving` (B rows) from one source: pictures (B, 3, H, W) in [0, 1].

        The motion network is mostly weights and gains from a batch. The rest is mostly activations, which fit
        into a CPU's cache for one frame and not for many: there it takes the frames one by one.
        """
        motion = self.dense_motion_network(state.motion, driving)
        step = 1 if state.features.device.type == "cpu" else len(motion.deformation)
        parts = zip(motion.deformation.split(step), motion.occlusion.split(step), strict=True)
        return Rendered(torch.cat([self._draw(state.features, *part) for part in parts]), motion)

    def _draw(self, features: Tensor, deformation: Tensor, occlusion: Tensor) -> Tensor:
        size = features.shape[2:]
        deformation = resize(deformation.permute(0, 3, 1, 2), size).permute(0, 2, 3, 1)
        out = warp(features.expand(len(deformation), -1, -1, -1), deformation).mul_(resize(occlusion, size))
        out = self.bottleneck(out.contiguous(memory_format=torch.channels_last))
        logits: Tensor = self.final(self.up_blocks(out))
        return logits.float().sigmoid_()


class Residuals(nn.Module):
    """The residual blocks: (B, C, H, W) float32 -> the same shape in the precision of the convolutions.

    The running sum is float32, or twelve roundings would add up in it: with the sum in bfloat16 as well the
    mean error of the pixels was a quarter larger.
    """

    def __init__(self, blocks: nn.Sequential, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.blocks = nn.ModuleList(blocks)
        for block in self._blocks():
            block.conv1.to(dtype)
            block.conv2.to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Add to `x`, in place, what each block makes of it."""
        for block in self._blocks():
            out: Tensor = block.norm1(x).relu_().to(self.dtype)
            out = block.conv2(block.conv1(out).relu_())
            x = x.add_(out.float())
        return x.to(self.dtype)

    def _blocks(self) -> Iterator[ResBlock2d]:
        for block in self.blocks:
            assert isinstance(block, ResBlock2d)
            yield block


@torch.inference_mode()
def fastest_dtype(device: torch.device | str) -> torch.dtype:
    """Return the precision to render in: float16 on a GPU, on a CPU what is faster, by measurement.

    A GPU computes with both halves equally fast, and float16 rounds eight times finer. A CPU times the
    convolution that makes up two thirds of the work, 256 to 256 channels at 64x64; the fastest rounds are
    compared, which other work on the machine spares.
    """
    if torch.device(device).type != "cpu":
        return torch.float16
    times: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    x, weight = (
        torch.ones(shape).to(memory_format=torch.channels_last)
        for shape in [(1, 256, 64, 64), (256, 256, 3, 3)]
    )
    for _ in range(_ROUNDS):
        for dtype, taken in times.items():
            inputs = x.to(dtype), weight.to(dtype)
            start = perf_counter()
            F.conv2d(*inputs, padding=1)
            taken.append(perf_counter() - start)
    half = min(times[torch.bfloat16]) < _CLEARLY_FASTER * min(times[torch.float32])
    return torch.bfloat16 if half else torch.float32


def _rearrange(hourglass: Hourglass, side: int, dtype: torch.dtype) -> None:
    """Put cheaper convolutions into an hourglass that sees pictures of `side` pixels, in place."""
    downs, ups = hourglass.encoder.down_blocks, hourglass.decoder.up_blocks
    as_product = dtype in HALVES
    for level, block in enumerate(downs):
        if as_product and (side >> level) ** 2 <= _FEW_PIXELS:
            _as_product(block)
    for index, block in enumerate(ups):
        if (side >> (len(ups) - 1 - index)) ** 2 > _FEW_PIXELS:
            ups[index] = DoublingConvolution(_conv(block))
        elif as_product:
            _as_product(block)


def _as_product(block: nn.Module) -> None:
    block.conv = MatrixConvolution(_conv(block))


def _conv(block: nn.Module) -> nn.Conv2d:
    assert isinstance(block, SameBlock2d)
    return block.conv
