"""The First Order Motion Model as it serves: the published arithmetic, rearranged to cost less.

`ServedFomm` is made from a loaded `Fomm`, so public checkpoints load into the published layers and the names
here are our own. The detector, and everything about positions, stays float32: keypoints of two machines must
agree, and half precision cannot tell neighbouring positions apart.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from time import perf_counter
from typing import Literal

import torch
from torch import Tensor, nn

from models.fomm.blocks import Hourglass, ResBlock2d, SameBlock2d, warp
from models.fomm.dense_motion import DenseMotionNetwork
from models.fomm.generator import OcclusionAwareGenerator, Rendered, SourceState, resize
from models.fomm.keypoint_detector import KPDetector, Points
from models.fomm.layers import DoublingConvolution, DoublingOutput, joined
from models.fomm.model import Fomm
from models.fomm.winograd import SQUARE, WinogradConvolution, WinogradResiduals, Workspace
from models.inference import prepare
from models.weight_prepacking import pack

# That of the renderer's convolutions. "mixed" is bfloat16, but float32 in the residual blocks. These run by
# Winograd's way where they are float32, on a CPU, and their pictures are whole squares.
Precision = Literal["float32", "mixed", "bfloat16", "float16"]
DTYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "mixed": torch.bfloat16,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
# Up to this many pixels reading a layer's weights takes the time, and the cheaper form has more of them.
_FEW_PIXELS = 64
# Into how many the channels of a single frame are parted on a GPU: 4,096 places are few threads for one.
_GPU_PARTS = 32
_ROUNDS = 6
# A precision that loses exactness must win clearly; for the residual blocks, where most is lost, by far.
_CLEARLY_FASTER = 0.93
_FAR_FASTER = 0.5
# Where it takes so many times as long in both of two rounds, this CPU only imitates it: no other is needed.
_IMITATED = 3


class ServedFomm(nn.Module):
    """Detector and generator, ready to serve on one device."""

    def __init__(self, model: Fomm, device: torch.device | str, precision: Precision) -> None:
        super().__init__()
        ready, dtype = prepare(model, device), DTYPES[precision]
        small = round(model.config.image_size * model.config.scale_factor)
        _rearrange(ready.kp_detector.predictor, small)
        _rearrange(ready.generator.dense_motion_network.hourglass, small)
        coarse = model.config.image_size >> model.config.generator_down_blocks
        exact = precision in ("float32", "mixed")
        blocks = [block for block in ready.generator.bottleneck if isinstance(block, ResBlock2d)]
        bottleneck = (
            WinogradResiduals(blocks, coarse)
            if exact and coarse % SQUARE == 0 and torch.device(device).type == "cpu"
            else Residuals(blocks, torch.float32 if exact else dtype)
        )
        self.kp_detector: KPDetector = ready.kp_detector
        self.generator = ServedGenerator(ready.generator, dtype, bottleneck)


class ServedGenerator(nn.Module):
    """The generator, on residual blocks of either form: `encode_source` once, `decode` for every frame."""

    def __init__(self, ready: OcclusionAwareGenerator, dtype: torch.dtype, bottleneck: nn.Module) -> None:
        super().__init__()
        self.dtype = dtype
        self.dense_motion_network = ServedMotion(ready.dense_motion_network, dtype)
        self.first, self.down_blocks = ready.first, ready.down_blocks
        self.bottleneck = bottleneck
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
        out = _warp(features, deformation).mul_(resize(occlusion, size))
        out = self.bottleneck(out.contiguous(memory_format=torch.channels_last))
        logits: Tensor = self.final(self.up_blocks(out.to(self.dtype)))
        return logits.float().sigmoid_()


class ServedMotion(DenseMotionNetwork):
    """Dense motion whose two last convolutions, which see the same, are one."""

    def __init__(self, ready: DenseMotionNetwork, dtype: torch.dtype) -> None:
        nn.Module.__init__(self)
        self.dtype = dtype
        self.kp_variance, self.down = ready.kp_variance, ready.down
        self.hourglass = ready.hourglass.to(dtype)
        self.maps = joined(ready.mask, ready.occlusion).to(dtype)

    def _maps(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        features = self.hourglass(inputs.to(self.dtype, memory_format=torch.channels_last))
        maps: Tensor = self.maps(features)
        return maps[:, :-1], maps[:, -1:]


class Residuals(nn.Module):
    """The residual blocks with convolutions of precision `dtype`: (B, C, H, W) float32 both ways.

    The running sum is float32, or twelve roundings would add up in it: with the sum in bfloat16 as well the
    mean error of the pixels was a quarter larger.
    """

    def __init__(self, blocks: list[ResBlock2d], dtype: torch.dtype) -> None:
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
        return x

    def _blocks(self) -> Iterator[ResBlock2d]:
        for block in self.blocks:
            assert isinstance(block, ResBlock2d)
            yield block


@cache
@torch.inference_mode()
def fastest_precision() -> Precision:
    """Return the precision to render in on this CPU: the faster one, by measurement.

    Three ways are timed to do the convolution that makes up two thirds of the work, 256 to 256 channels at
    64x64; the fastest rounds are compared, which other work on the machine spares. Measured once a process.
    """
    direct = nn.Conv2d(256, 256, 3, padding=1)
    layers = nn.ModuleList([direct, WinogradConvolution(direct), copy.deepcopy(direct).bfloat16()])
    pack(layers)
    x = torch.ones(1, 256, 64, 64).contiguous(memory_format=torch.channels_last)
    inputs = [(x,), (torch.zeros(66, 66, 256), Workspace(64, 256)), (x.bfloat16(),)]
    rounds = [_times(layers, inputs)]
    exact, winograd, half = rounds[0]
    for _ in range(_ROUNDS - 1):
        rounds.append(_times(layers, inputs))
        exact, winograd, half = (min(times) for times in zip(*rounds, strict=True))
        if half > _IMITATED * exact:
            break
    if half >= _CLEARLY_FASTER * exact:
        return "float32"
    return "bfloat16" if half < _FAR_FASTER * winograd else "mixed"


def _times(layers: nn.ModuleList, inputs: Sequence[tuple[object, ...]]) -> list[float]:
    marks = [perf_counter()]
    for layer, given in zip(layers, inputs, strict=True):
        layer(*given)
        marks.append(perf_counter())
    return [end - start for start, end in pairwise(marks)]


def _warp(features: Tensor, grid: Tensor) -> Tensor:
    """Sample the one source's `features` (1, C, H, W) at `grid` (B, h, w, 2): (B, C, h, w).

    A CPU spreads only the batch over its cores, and a GPU has a thread for each place, which walks through
    all channels; so for a single frame the channels stand as a batch.
    """
    batch, channels = len(grid), features.shape[1]
    parts = torch.get_num_threads() if features.device.type == "cpu" else _GPU_PARTS
    if batch > 1 or channels % parts:
        return warp(features.expand(batch, -1, -1, -1), grid)
    groups = features.view(parts, -1, *features.shape[2:])
    return warp(groups, grid.expand(parts, -1, -1, -1)).view(1, channels, *grid.shape[1:3])


def _rearrange(hourglass: Hourglass, side: int) -> None:
    """Give an hourglass that sees pictures of `side` pixels the cheaper way to double them, in place."""
    ups = hourglass.decoder.up_blocks
    for index, block in enumerate(ups):
        if (side >> (len(ups) - 1 - index)) ** 2 > _FEW_PIXELS:
            ups[index] = DoublingConvolution(_conv(block))


def _conv(block: nn.Module) -> nn.Conv2d:
    assert isinstance(block, SameBlock2d)
    return block.conv
