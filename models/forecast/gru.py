"""Recurrent forecasters whose state is a GRU's, and the plain one.

Cho et al., "On the Properties of Neural Machine Translation" (SSST 2014); equations 1-6 of the paper.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.forecast.config import GruConfig, Predict
from models.forecast.recurrent import ForecastNetwork, State, perceptron


class GruNetwork(ForecastNetwork):
    """Base of networks that follow true frames with a GRU in one pass; a subclass predicts the next frame."""

    def __init__(self, predict: Predict, dimensions: int, layers: int, hidden: int) -> None:
        super().__init__(predict, dimensions, layers, hidden)
        self.gru = nn.GRU(dimensions, hidden, layers, batch_first=True)

    def observe(self, state: State, frame: Tensor) -> State:
        """Return the state after the true `frame` (B, D)."""
        seen = self.scaling.describe(frame, state.last)
        return State(self.gru(seen[:, None], state.hidden)[1], frame)

    def absorb(self, state: State | None, frames: Tensor) -> State:
        """Return the state after the true `frames` (B, T, D), all in one pass."""
        return self.follow(state, frames)[1]

    def follow(self, state: State | None, frames: Tensor) -> tuple[Tensor, State]:
        """Follow true `frames` (B, T, D): the top hidden state after each (B, T, H) and the last state."""
        state = self.start(frames[:, 0]) if state is None else state
        before = torch.cat([state.last[:, None], frames[:, :-1]], dim=1)
        outputs, hidden = self.gru(self.scaling.describe(frames, before), state.hidden)
        return outputs, State(hidden, frames[:, -1])


class Gru(GruNetwork):
    """Reads the next frame off the hidden state; there is nothing random in it, so all samples are one."""

    noise_size = 0

    def __init__(self, config: GruConfig, dimensions: int) -> None:
        super().__init__(config.predict, dimensions, config.layers, config.hidden)
        self.output = perceptron(config.hidden, config.inner, dimensions, 2, nn.ReLU)

    def advance(self, state: State, noise: Tensor | None = None) -> State:  # noqa: ARG002
        """Predict one frame."""
        return self.observe(state, self.scaling.frame(self.output(state.hidden[-1]), state.last))
