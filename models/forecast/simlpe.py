"""An MLP over the frequencies of the recent past: what came after recurrent networks for human motion.

Guo et al., "Back to MLP: A Simple Baseline for Human Motion Prediction" (siMLPe, WACV 2023). Chosen as the
modern comparison since it matched graph networks and transformers many times its size there, and predicts a
whole block at once: no error of one frame is fed back into the next.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from models.forecast.config import LIMIT, MIN_MOTION, SimlpeConfig
from models.forecast.recurrent import State
from models.forecast.window import WindowNetwork


class TemporalBlock(nn.Module):
    """Mixes the frequencies of every feature alike; normalised, with a way around."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.mix = nn.Linear(length, length)
        self.norm = nn.LayerNorm(width)
        nn.init.xavier_uniform_(self.mix.weight, gain=1e-2)
        nn.init.zeros_(self.mix.bias)

    def forward(self, values: Tensor) -> Tensor:
        """Map (B, length, width) to the same shape."""
        mixed: Tensor = self.norm(self.mix(values.transpose(1, 2)).transpose(1, 2))
        return values + mixed


class Simlpe(WindowNetwork):
    """Says the next `length` frames as changes from the last one; longer rollouts go on from their own.

    Deterministic: all samples are one.
    """

    noise_size = 0
    basis: Tensor

    def __init__(self, config: SimlpeConfig, dimensions: int) -> None:
        super().__init__(config.predict, dimensions, config.length)
        self.register_buffer("basis", cosines(config.length))
        self.enter = nn.Linear(dimensions, config.width)
        self.blocks = nn.Sequential(
            *(TemporalBlock(config.length, config.width) for _ in range(config.blocks))
        )
        self.leave = nn.Linear(config.width, dimensions)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def block(self, state: State) -> Tensor:
        """Return the next `length` frames (B, length, D)."""
        frames, last = state.hidden.transpose(0, 1), state.last[:, None]
        unit = self._liveliness(frames)
        seen = self.scaling.describe(frames, last) / unit
        changes = self.basis.T @ self.leave(self.blocks(self.enter(self.basis @ seen)))
        return torch.addcmul(last, changes, unit * self.scaling.step)

    def _liveliness(self, frames: Tensor) -> Tensor:
        """Return the unit (B, 1, 1) of motion in `frames` (B, T, D): twice of it, twice the forecast."""
        changes = (frames[:, 1:] - frames[:, :-1]) / self.scaling.step
        return (changes.clamp(-LIMIT, LIMIT).square().mean((1, 2), keepdim=True) + MIN_MOTION).sqrt()

    def advance(self, state: State, noise: Tensor | None = None) -> State:  # noqa: ARG002
        """Predict one frame, the first of a block."""
        return self.observe(state, self.block(state)[:, 0])

    def rollout(self, state: State, steps: int, noise: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return the next frames (B, steps, D), block by block."""
        blocks = [self.block(state)]
        while len(blocks) * self.window < steps:
            state = self.absorb(state, blocks[-1])
            blocks.append(self.block(state))
        return torch.cat(blocks, dim=1)[:, :steps]


def cosines(length: int) -> Tensor:
    """Return the orthonormal DCT-II (length, length): a row a frequency (Ahmed et al., IEEE TC 1974)."""
    time = torch.arange(length).double() + 0.5
    basis = torch.cos(math.pi / length * torch.arange(length).double()[:, None] * time)
    basis *= math.sqrt(2 / length)
    basis[0] /= math.sqrt(2)
    return basis.float()
