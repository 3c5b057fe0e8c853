"""The Thin-Plate-Spline model as it serves: the published arithmetic, rearranged to cost less.

Detector and motion stay float32: points of two machines must agree, half precision cannot tell neighbouring
positions apart, and both together are a twelfth of the work.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.fomm.layers import DoublingConvolution
from models.fomm.serving import DTYPES, Precision
from models.fomm.winograd import SQUARE, WinogradConvolution, Workspace
from models.inference import prepare
from models.tps.blocks import ResBlock2d, UpBlock2d
from models.tps.config import MASKS
from models.tps.inpainting import InpaintingNetwork
from models.tps.model import Tps


def serve(model: Tps, device: torch.device | str, precision: Precision) -> Tps:
    """Return a copy of `model` ready to serve on one device; on a CPU it paints one picture at a time.

    `precision` is that of painting; "mixed" leaves the residual blocks exact. In float32 these run
    by Winograd's way on a CPU.
    """
    ready, dtype = prepare(model, device), DTYPES[precision]
    exact = precision in ("float32", "mixed")
    painting = ready.inpainting_network
    painting.convolve_in(dtype, exact_residuals=exact)
    if exact and torch.device(device).type == "cpu":
        painting.resblock = nn.ModuleList(_exact_blocks(painting, model.config.image_size))
    _rearrange(ready)
    return ready


class PictureNorm(nn.Module):
    """An instance norm, written as the group norm that it is: torch does that one several times faster."""

    def __init__(self, norm: nn.InstanceNorm2d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """Norm each channel of each picture of `x` (B, C, H, W) by itself."""
        return F.group_norm(x, x.shape[1], self.weight, self.bias, self.eps)


class DoublingBlock(nn.Module):
    """An `UpBlock2d` that convolves the small picture (see `DoublingConvolution`)."""

    def __init__(self, block: UpBlock2d) -> None:
        super().__init__()
        self.conv = DoublingConvolution(block.conv, relu=False)
        self.norm: nn.Module = block.norm

    def forward(self, x: Tensor) -> Tensor:
        """Double the resolution and convolve, norm, rectify: (B, in, H, W) -> (B, out, 2H, 2W)."""
        normed: Tensor = self.norm(self.conv(x))
        return F.relu(normed, inplace=True)


class WinogradResBlock(nn.Module):
    """A `ResBlock2d` in float32, for one square picture of the size of `memory`."""

    def __init__(self, block: ResBlock2d, memory: Workspace, padded: Tensor) -> None:
        super().__init__()
        self.norm1: nn.Module = block.norm1
        self.norm2: nn.Module = block.norm2
        self.conv1 = WinogradConvolution(block.conv1)
        self.conv2 = WinogradConvolution(block.conv2)
        self._memory = memory
        self._padded = padded

    def forward(self, x: Tensor) -> Tensor:
        """Add what the two convolutions make of `x` (1, C, S, S), of any precision, to it."""
        exact = x.float()
        out = self._convolved(self.conv1, self.norm1(exact))
        return exact + self._convolved(self.conv2, self.norm2(out))

    def _convolved(self, conv: WinogradConvolution, normed: Tensor) -> Tensor:
        inside = self._padded[1:-1, 1:-1]
        torch.clamp_min(normed[0].permute(1, 2, 0), 0, out=inside)
        # A view of memory that the next convolution writes over: here it becomes a picture of its own.
        squares: Tensor = conv(self._padded, self._memory)
        picture = squares.reshape(inside.shape)
        return picture.permute(2, 0, 1).unsqueeze(0)


def _exact_blocks(painting: InpaintingNetwork, size: int) -> Iterator[nn.Module]:
    """Yield the residual blocks by Winograd's way, where a picture is whole squares; else as they are."""
    for index in range(0, len(painting.resblock), 2):
        side = size >> (MASKS - 1 - index // 2)
        pair = [block for block in painting.resblock[index : index + 2] if isinstance(block, ResBlock2d)]
        channels = pair[0].conv1.in_channels
        memory, padded = Workspace(side, channels), torch.zeros(side + 2, side + 2, channels)
        for block in pair:
            yield block if side % SQUARE else WinogradResBlock(block, memory, padded)


def _rearrange(network: nn.Module) -> None:
    """Replace norms and up-blocks inside `network` by their cheaper forms, in place."""
    for name, child in list(network.named_children()):
        if isinstance(child, nn.InstanceNorm2d):
            setattr(network, name, PictureNorm(child))
            continue
        _rearrange(child)
        if isinstance(child, UpBlock2d):
            setattr(network, name, DoublingBlock(child))
