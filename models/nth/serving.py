"""The neural talking head as it serves: the published arithmetic, rearranged to cost less.

Detector, estimator, and everything about positions stay float32: poses of two machines must agree, and half
precision cannot tell neighbouring positions apart.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.fomm.blocks import ResBlock2d, UpBlock2d
from models.fomm.layers import DoublingConvolution, DoublingOutput, joined
from models.fomm.serving import DTYPES, Precision, Residuals
from models.fomm.winograd import SQUARE, WinogradResiduals
from models.inference import prepare
from models.nth.config import NthConfig
from models.nth.generator import OriginalGenerator, SpadeGenerator
from models.nth.model import Nth
from models.nth.spade import Spade, SpadeResBlock


def serve(model: Nth, device: torch.device | str, precision: Precision) -> Nth:
    """Return a copy of `model` ready to serve on one device; on a CPU it draws one picture at a time.

    `precision` is that of motion and drawing; "mixed" leaves the original generator's residual blocks exact.
    In float32 these run by Winograd's way on a CPU.
    """
    ready, dtype = prepare(model, device), DTYPES[precision]
    generator = ready.generator
    generator.convolve_in(dtype)
    if isinstance(generator, OriginalGenerator):
        residuals = _residuals(generator, model.config, device, precision)
        ready.generator = ServedOriginal(generator, residuals)
    if isinstance(generator, SpadeGenerator):
        _work_out(generator.decoder)
    return ready


class ServedOriginal(OriginalGenerator):
    """The original generator, on residual blocks of either form."""

    def __init__(self, ready: OriginalGenerator, residuals: nn.Module) -> None:
        nn.Module.__init__(self)
        self.dtype, self.depth = ready.dtype, ready.depth
        for name, child in ready.named_children():
            self.add_module(name, child)
        *before, last = [block.conv for block in ready.up_blocks if isinstance(block, UpBlock2d)]
        self.residuals = residuals
        self.doublings = nn.Sequential(*(DoublingConvolution(conv) for conv in before)).to(self.dtype)
        self.output = DoublingOutput(last, ready.final).to(self.dtype)
        del self.resblocks_2d, self.up_blocks, self.final

    def draw(self, features: Tensor) -> Tensor:
        """Turn the visible `features` (B, C, h, w) float32 into pictures (B, 3, H, W) before the sigmoid."""
        out = self.residuals(features.contiguous(memory_format=torch.channels_last))
        logits: Tensor = self.output(self.doublings(out.to(self.dtype)))
        return logits


class JoinedSpade(nn.Module):
    """A `Spade` whose two convolutions of what it sees are one."""

    def __init__(self, norm: Spade) -> None:
        super().__init__()
        self.mlp_shared = norm.mlp_shared
        self.mlp_both = joined(norm.mlp_gamma, norm.mlp_beta)

    def forward(self, x: Tensor, where: Tensor) -> Tensor:
        """Norm `x` (B, C, H, W) by itself, and modulate it by `where` (B, map_features, H, W)."""
        scale, shift = self.mlp_both(self.mlp_shared(where)).chunk(2, dim=1)
        # The group norm that this instance norm is: torch does that one several times faster.
        return torch.addcmul(shift.float(), F.group_norm(x, x.shape[1]), 1 + scale.float())


class ServedSpadeBlock(nn.Module):
    """A `SpadeResBlock` with convolutions of any precision, between norms and a running sum of float32.

    A norm divides by the spread of what it sees, and what was rounded before by as much.
    """

    def __init__(self, block: SpadeResBlock) -> None:
        super().__init__()
        self.norm_0, self.norm_1 = JoinedSpade(block.norm_0), JoinedSpade(block.norm_1)
        self.conv_0, self.conv_1 = block.conv_0.plain(), block.conv_1.plain()
        self.dtype = self.conv_0.weight.dtype
        self.shortcut = block.shortcut
        if self.shortcut:
            self.norm_s, self.conv_s = JoinedSpade(block.norm_s), block.conv_s.plain()

    def forward(self, x: Tensor, where: Tensor) -> Tensor:
        """Add the shortcut to what the convolutions make of `x`, under the map `where` of its size."""
        exact = x.float()
        out = self._convolved(self.conv_0, F.leaky_relu(self.norm_0(exact, where), 0.2))
        out = self._convolved(self.conv_1, F.leaky_relu(self.norm_1(out, where), 0.2))
        return out + (self._convolved(self.conv_s, self.norm_s(exact, where)) if self.shortcut else exact)

    def _convolved(self, conv: nn.Module, x: Tensor) -> Tensor:
        out: Tensor = conv(x.to(self.dtype))
        return out.float()


def _residuals(
    generator: OriginalGenerator, config: NthConfig, device: torch.device | str, precision: Precision
) -> nn.Module:
    blocks = [block for block in generator.resblocks_2d if isinstance(block, ResBlock2d)]
    coarse = config.image_size >> config.generator_down_blocks
    if precision not in ("float32", "mixed"):
        return Residuals(blocks, DTYPES[precision])
    if coarse % SQUARE or torch.device(device).type != "cpu":
        return Residuals(blocks, torch.float32)
    return WinogradResiduals(blocks, coarse)


def _work_out(decoder: nn.Module) -> None:
    """Replace blocks, whose weights are divided anew for each frame, by their served form, in place."""
    for name, block in list(decoder.named_children()):
        if isinstance(block, SpadeResBlock):
            setattr(decoder, name, ServedSpadeBlock(block))
