"""Convolutions of the published network in forms that cost less, made from trained ones; all are exact.

What each replaces, and why that is the same, stands in its docstring. Arithmetic on weights is done in
float64 and rounded once.
"""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Rows: the two taps that touch the small picture. For even pixels of the doubled picture the first of the
# three taps falls on the pixel before and the other two on the pixel itself; for odd ones it is mirrored.
_TAPS = torch.tensor([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], dtype=torch.float64)
PHASES = [(row, column) for row in (0, 1) for column in (0, 1)]


class DoublingConvolution(nn.Module):
    """A 3x3 convolution of the picture with every pixel doubled, computed on the small picture instead.

    Of the 3x3 taps around a doubled pixel several see the same small pixel, so their weights can be added up:
    four 2x2 convolutions remain, one for each place of a pixel in its 2x2 square. 16 products instead of 36.
    With `relu` what it returns is rectified.
    """

    def __init__(self, conv: nn.Conv2d, relu: bool = True) -> None:
        super().__init__()
        self.out_channels = conv.out_channels
        taps = _TAPS.to(conv.weight.device)
        weight = torch.einsum("apr,bqs,oirs->aboipq", taps, taps, conv.weight.double())
        small = _convolution(weight.flatten(0, 2), _bias(conv).repeat(4), conv, padding=1)
        self.conv = nn.Sequential(small, nn.ReLU(inplace=True) if relu else nn.Identity())

    def phases(self, x: Tensor) -> list[Tensor]:
        """Convolve `x` (B, in, H, W): four (B, out, H, W), the pixels at each of `PHASES`."""
        _, _, height, width = x.shape
        out: Tensor = self.conv(x)
        return [
            part[:, :, row : row + height, column : column + width]
            for part, (row, column) in zip(out.chunk(4, dim=1), PHASES, strict=True)
        ]

    def forward(self, x: Tensor) -> Tensor:
        """Double and convolve: (B, in, H, W) -> (B, out, 2H, 2W)."""
        batch, _, height, width = x.shape
        out = torch.empty(
            (batch, self.out_channels, 2 * height, 2 * width),
            dtype=x.dtype, device=x.device, memory_format=torch.channels_last,
        )  # fmt: skip
        for part, (row, column) in zip(self.phases(x), PHASES, strict=True):
            out[:, :, row::2, column::2] = part
        return out


class DoublingOutput(nn.Module):
    """A `DoublingConvolution` and the convolution after it, which has few outputs; nothing in between.

    The four phases stay side by side as channels of the small picture. On them a convolution of size k is one
    of size about k / 2 with four times the outputs, which fills vector units that three outputs leave idle.
    """

    def __init__(self, before: nn.Conv2d, last: nn.Conv2d) -> None:
        super().__init__()
        self.doubling = DoublingConvolution(before)
        weight = _on_phases(last.weight.detach().double())
        bias = _bias(last).repeat_interleave(4)
        self.last = _convolution(weight, bias, last, padding=weight.shape[-1] // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Double, convolve, ReLU, convolve: (B, in, H, W) -> (B, out, 2H, 2W)."""
        return F.pixel_shuffle(self.last(torch.cat(self.doubling.phases(x), dim=1)), 2)


def joined(*convs: nn.Conv2d) -> nn.Conv2d:
    """Return one convolution with the outputs of all `convs`, which differ in nothing else."""
    weight = torch.cat([conv.weight for conv in convs])
    like = convs[0]
    return _convolution(weight, torch.cat([_bias(conv) for conv in convs]), like, like.kernel_size[0] // 2)


def _on_phases(weight: Tensor) -> Tensor:
    """Turn weights (out, in, k, k) for a picture into (4 out, 4 in, m, m) for its 2x2 squares.

    Inputs are ordered phase by phase, outputs as `pixel_shuffle` takes them. Tap t of an output pixel in
    place a of its square lies t + a - k // 2 pixels from the square's corner: square and place are its
    quotient and remainder by two.
    """
    outputs, inputs, size, _ = weight.shape
    reach = (size // 2 + 1) // 2
    wide = weight.new_zeros(outputs, 2, 2, 2, 2, inputs, 2 * reach + 1, 2 * reach + 1)
    for row, column in PHASES:
        for y, x in product(range(size), repeat=2):
            square_y, place_y = divmod(y + row - size // 2, 2)
            square_x, place_x = divmod(x + column - size // 2, 2)
            taps = wide[:, row, column, place_y, place_x, :, square_y + reach, square_x + reach]
            taps.copy_(weight[:, :, y, x])
    return wide.reshape(4 * outputs, 4 * inputs, 2 * reach + 1, 2 * reach + 1)


def _bias(conv: nn.Conv2d) -> Tensor:
    return conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()


def _convolution(weight: Tensor, bias: Tensor, like: nn.Conv2d, padding: int) -> nn.Conv2d:
    """Return a convolution of these weights in the precision of `like`, channels-last, without gradients."""
    outputs, inputs, *size = weight.shape
    conv = nn.Conv2d(inputs, outputs, (size[0], size[1]), padding=padding, device="meta")
    dtype = like.weight.dtype
    conv.weight = nn.Parameter(weight.detach().to(dtype, memory_format=torch.channels_last), False)
    conv.bias = nn.Parameter(bias.to(dtype), False)
    return conv
