"""Forecasters that say one frame from the one k frames before it: the paper's VAE and NF (3.2.2, 3.2.4).

Both express frames relative to the newest known one in "delta" mode; in "frame" mode they are the paper's.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from models.forecast.recurrent import State
from models.forecast.window import WindowNetwork


class Pairs(NamedTuple):
    """Frames to learn from, all (B, T-k, D), standardised: `seen` is k frames before its `target`.

    `last` are the frames right before the targets, unscaled.
    """

    seen: Tensor
    target: Tensor
    last: Tensor


class LaggedNetwork(WindowNetwork):
    """Its window is the lag k, so that the oldest frame in it says the next one."""

    def oldest(self, state: State) -> Tensor:
        """Return the input (B, D) of a network for the next frame."""
        return self.scaling.describe(state.hidden[0], state.last)

    def pairs(self, frames: Tensor) -> Pairs:
        """Return all pairs of `frames` (B, T, D), T > k."""
        last = frames[:, self.window - 1 : -1]
        seen = self.scaling.describe(frames[:, : -self.window], last)
        return Pairs(seen, self.scaling.target(frames[:, self.window :], last), last)
