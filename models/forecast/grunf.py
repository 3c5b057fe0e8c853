"""A GRU that conditions a normalizing flow over the next keypoints.

Rasul et al., "Multivariate Probabilistic Time Series Forecasting via Conditioned Normalizing Flows" (ICLR
2021).
"""

from __future__ import annotations

from torch import Tensor

from models.forecast.config import GruNfConfig
from models.forecast.flow import Flow
from models.forecast.gru import GruNetwork
from models.forecast.likelihood import unknown
from models.forecast.recurrent import State


class GruNf(GruNetwork):
    """Equations 27-32 of the paper. A single prediction is the image of z = 0, a sample that of a drawn z."""

    ordinary: Tensor

    def __init__(self, config: GruNfConfig, dimensions: int) -> None:
        super().__init__(config.predict, dimensions, config.layers, config.hidden)
        self.noise_size = dimensions
        self.flow = Flow(dimensions, config.hidden, config.blocks, config.inner, config.depth)
        self.register_buffer("ordinary", unknown())

    def log_prob(self, frames: Tensor) -> Tensor:
        """Return log p(frame t | frames before t) for t = 1 .. T-1, (B, T-1), of `frames` (B, T, D).

        In nats, a density in keypoint units (equation 29 of the paper, and the standardisation's part).
        """
        hidden, _ = self.follow(None, frames[:, :-1])
        target = self.scaling.target(frames[:, 1:], frames[:, :-1])
        return self.flow.log_prob(target, hidden) + self.scaling.log_determinant()

    def advance(self, state: State, noise: Tensor | None = None) -> State:
        """Predict one frame, the image of zero or of `noise` (B, D)."""
        base = state.last.new_zeros(state.last.shape) if noise is None else noise
        predicted = self.flow.inverse(base, state.hidden[-1])
        return self.observe(state, self.scaling.frame(predicted, state.last))
