"""A normalizing flow over a frame, given the frame k before it.

Dinh et al., "Density estimation using Real NVP" (ICLR 2017); equations 18-26 of the paper. The paper leaves
open how a density of x[t] yields x[t+k]; here the flow is of x[t+k] and x[t] its condition, so that both
terms of equation 24 are about the same frame and a sequence has an exact likelihood.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.forecast.config import NfConfig
from models.forecast.flow import Flow
from models.forecast.lagged import LaggedNetwork
from models.forecast.likelihood import unknown
from models.forecast.recurrent import State


class Nf(LaggedNetwork):
    """A single prediction is the image of z = 0, a sample that of a drawn z."""

    ordinary: Tensor

    def __init__(self, config: NfConfig, dimensions: int) -> None:
        super().__init__(config.predict, dimensions, config.lag)
        self.noise_size = dimensions
        self.flow = Flow(dimensions, dimensions, config.blocks, config.inner, config.depth)
        self.register_buffer("ordinary", unknown())

    def log_prob(self, frames: Tensor) -> Tensor:
        """Return log p(frame t | frames before t) for t = 1 .. T-1, (B, T-1), of `frames` (B, T, D).

        In nats, a density in keypoint units. Where fewer than k frames are known, the first stands for those
        before it.
        """
        known = torch.cat([frames[:, :1].expand(-1, self.window - 1, -1), frames], dim=1)
        pairs = self.pairs(known)
        return self.flow.log_prob(pairs.target, pairs.seen) + self.scaling.log_determinant()

    def advance(self, state: State, noise: Tensor | None = None) -> State:
        """Predict one frame, the image of zero or of `noise` (B, D)."""
        base = state.last.new_zeros(state.last.shape) if noise is None else noise
        predicted = self.flow.inverse(base, self.oldest(state))
        return self.observe(state, self.scaling.frame(predicted, state.last))
