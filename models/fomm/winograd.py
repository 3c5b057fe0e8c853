"""3x3 convolutions in float32 with a quarter of the multiplications: Winograd's F(4x4, 3x3), for CPUs.

Lavin & Gray, Fast Algorithms for Convolutional Neural Networks (2016): each 4x4 square of the result comes
from 6x6 pixels d of the picture as A' [(G g G') * (B' d B)] A, where * is a product number by number and,
summed over channels, becomes 36 matrix products. In float32 it errs by about 1e-5 of the values, six times as
much as the direct way. In bfloat16 it would lose nine times what the direct way loses: it is float32 alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.fomm.blocks import ResBlock2d

# Pixels of the result in a square, and of the picture under it.
SQUARE, UNDER = 4, 6
_B = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_G = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_A = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)


class Workspace:
    """Memory between the steps, shared by all layers of pictures of `side` pixels, a multiple of 4.

    Without it every layer would ask the system for 12 MB anew. A picture is done in `bands`, one after the
    other, where it can be halved: what lies between the steps then stays closer to a core.
    """

    def __init__(self, side: int, channels: int) -> None:
        self.across = side // SQUARE
        self.bands = 1 if self.across % 2 else 2
        self.down = self.across // self.bands
        self.rows = torch.empty(self.down, UNDER, (side + 2) * channels)
        self.parts = torch.empty(self.across, self.down * UNDER, UNDER, channels)
        self.squares = torch.empty(self.bands, self.across * self.down, SQUARE**2, channels)

    def result(self) -> Tensor:
        """View the result as `squares_of` views a picture."""
        shape = (self.bands, self.across, self.down, SQUARE, SQUARE, -1)
        return self.squares.view(shape).permute(0, 2, 3, 1, 4, 5)

    def squares_of(self, rows: Tensor) -> Tensor:
        """View a picture (side, side, C) as (bands, side / 4 / bands, 4, side / 4, 4, C)."""
        return rows.view(self.bands, self.down, SQUARE, self.across, SQUARE, -1)


class WinogradConvolution(nn.Module):
    """The 3x3 convolution `conv`, with as many channels out as in, of one square picture (see `Workspace`).

    On a CPU with AVX-512, 256 channels at 64x64 took about 6 ms; directly 10, and 5 in bfloat16.
    """

    analysis: Tensor
    synthesis: Tensor

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        g, a = torch.tensor(_G, dtype=torch.float64), torch.tensor(_A, dtype=torch.float64)
        weight = torch.einsum("ir,js,okrs->ijok", g, g, conv.weight.detach().double())
        products, groups = UNDER**2 * conv.out_channels, UNDER**2
        self.products = nn.Conv2d(groups * conv.in_channels, products, 1, groups=groups, device="meta")
        self.products.weight = nn.Parameter(weight.reshape(products, -1, 1, 1).float(), False)
        bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
        # What the synthesis turns into the same number everywhere; so the bias costs nothing.
        ones = torch.linalg.pinv(a) @ torch.ones(SQUARE, dtype=torch.float64)
        everywhere = ones[:, None, None] * ones[:, None] * bias
        self.products.bias = nn.Parameter(everywhere.flatten().float(), False)
        self.register_buffer("analysis", torch.tensor(_B, dtype=torch.float32), persistent=False)
        self.register_buffer("synthesis", torch.kron(a, a).float(), persistent=False)

    def forward(self, padded: Tensor, memory: Workspace) -> Tensor:
        """Convolve `padded` (H + 2, W + 2, C), contiguous, whose border is zero.

        Returns a view (see `Workspace.result`) of `memory`, valid until that is used again.
        """
        height = memory.down * SQUARE
        for band, squares in enumerate(memory.squares):
            self._analyse(padded[band * height : (band + 1) * height + 2], memory)
            parts = memory.parts.view(1, memory.across, memory.down, -1).permute(0, 3, 1, 2)
            products = self.products(parts).permute(0, 2, 3, 1)
            # A' m A in one step: rows of m and columns of m are both in the 36 numbers of a square.
            _multiply(self.synthesis, products.reshape(len(squares), UNDER**2, -1), squares)
        return memory.result()

    def _analyse(self, padded: Tensor, memory: Workspace) -> None:
        """Put B' d B of all squares of a band into `memory.parts`, column by column of squares."""
        _, width, channels = padded.shape
        line = width * channels
        # Neighbouring squares share two lines of pixels: the view overlaps, so nothing is copied.
        shape, strides = (memory.down, UNDER, line), (SQUARE * line, line, 1)
        _multiply(self.analysis, padded.as_strided(shape, strides, padded.storage_offset()), memory.rows)
        rows = memory.rows.view(memory.down * UNDER, width, channels)
        for index, part in enumerate(memory.parts):
            _multiply(self.analysis, rows[:, SQUARE * index : SQUARE * index + UNDER], part)


class WinogradResiduals(nn.Module):
    """The residual blocks of the generator in float32, for one picture of `side` pixels, a multiple of 4."""

    def __init__(self, blocks: Sequence[ResBlock2d], side: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(block.norm1 for block in blocks)
        self.first = nn.ModuleList(WinogradConvolution(block.conv1) for block in blocks)
        self.second = nn.ModuleList(WinogradConvolution(block.conv2) for block in blocks)
        channels = blocks[0].conv1.in_channels
        self._memory = Workspace(side, channels)
        self._padded = torch.zeros(side + 2, side + 2, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Add to `x` (1, C, H, W), channels-last, in place, what each block makes of it."""
        squares_of = self._memory.squares_of
        total, inside = squares_of(x[0].permute(1, 2, 0)), squares_of(self._padded[1:-1, 1:-1])
        for norm, first, second in zip(self.norms, self.first, self.second, strict=True):
            torch.clamp_min(squares_of(norm(x)[0].permute(1, 2, 0)), 0, out=inside)
            torch.clamp_min(first(self._padded, self._memory), 0, out=inside)
            total.add_(second(self._padded, self._memory))
        return x


def _multiply(matrix: Tensor, batch: Tensor, into: Tensor) -> None:
    """Put `matrix` (m, n) times each (n, columns) of `batch` into `into`, whatever that held."""
    into.baddbmm_(matrix.expand(len(batch), -1, -1), batch, beta=0)
