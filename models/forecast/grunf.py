"""A GRU that conditions a normalizing flow over the next keypoints.

Rasul et al., "Multivariate Probabilistic Time Series Forecasting via Conditioned Normalizing Flows" (ICLR
2021).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.forecast.flow import Flow
from models.forecast.likelihood import unknown
from models.forecast.recurrent import RecurrentNetwork, State
from models.forecast.scaling import Predict
from shared.keypoints import DIMENSIONS


@dataclass(frozen=True)
class GruNfConfig:
    """Sizes of a GRU-NF: GRU layers and units; RealNVP blocks, and depth and width of their nets."""

    layers: int
    hidden: int
    blocks: int
    depth: int
    inner: int
    predict: Predict = "delta"


GRU_NF_PRESETS = {
    "call": GruNfConfig(layers=1, hidden=128, blocks=4, depth=2, inner=96),
    "paper": GruNfConfig(layers=3, hidden=512, blocks=12, depth=5, inner=2048),
}


class GruNf(RecurrentNetwork):
    """Equations 27-32 of the paper. A single prediction is the image of z = 0, a sample that of a drawn z."""

    ordinary: Tensor

    def __init__(self, config: GruNfConfig) -> None:
        super().__init__(config.predict, config.layers, config.hidden)
        self.noise_size = DIMENSIONS
        self.gru = nn.GRU(DIMENSIONS, config.hidden, config.layers, batch_first=True)
        self.flow = Flow(DIMENSIONS, config.hidden, config.blocks, config.inner, config.depth)
        self.register_buffer("ordinary", unknown())

    def log_prob(self, frames: Tensor) -> Tensor:
        """Return log p(frame t | frames before t) for t = 1 .. T-1, (B, T-1), of `frames` (B, T, 60).

        In nats, a density in keypoint units (equation 29 of the paper, and the standardisation's part).
        """
        hidden, _ = self.follow(None, frames[:, :-1])
        target = self.scaling.target(frames[:, 1:], frames[:, :-1])
        return self.flow.log_prob(target, hidden) + self.scaling.log_determinant()

    def observe(self, state: State, frame: Tensor) -> State:
        """Return the state after the true `frame` (B, 60)."""
        seen = self.scaling.describe(frame, state.last)
        return State(self.gru(seen[:, None], state.hidden)[1], frame)

    def advance(self, state: State, noise: Tensor | None = None) -> State:
        """Predict one frame, the image of zero or of `noise` (B, 60)."""
        base = state.last.new_zeros(state.last.shape) if noise is None else noise
        predicted = self.flow.inverse(base, state.hidden[-1])
        return self.observe(state, self.scaling.frame(predicted, state.last))

    def absorb(self, state: State | None, frames: Tensor) -> State:
        """Return the state after the true `frames` (B, T, 60), all in one pass."""
        return self.follow(state, frames)[1]

    def follow(self, state: State | None, frames: Tensor) -> tuple[Tensor, State]:
        """Follow true `frames` (B, T, 60): the top hidden state after each (B, T, H) and the last state."""
        state = self.start(frames[:, 0]) if state is None else state
        before = torch.cat([state.last[:, None], frames[:, :-1]], dim=1)
        outputs, hidden = self.gru(self.scaling.describe(frames, before), state.hidden)
        return outputs, State(hidden, frames[:, -1])
