"""Common base of the forecasters without a recurrence: they see the last few frames as they are."""

from __future__ import annotations

import torch
from torch import Tensor

from models.forecast.config import Predict
from models.forecast.recurrent import ForecastNetwork, State


class WindowNetwork(ForecastNetwork):
    """Its state's `hidden` (window, B, D) are the last frames, the oldest first, unscaled.

    Where fewer were observed, the first one stands for those before it.
    """

    def __init__(self, predict: Predict, dimensions: int, window: int) -> None:
        super().__init__(predict, dimensions, layers=window, hidden=dimensions)
        self.window = window

    def start(self, frame: Tensor) -> State:
        """Return the state before the first `frame` (B, D): it has always been so."""
        return State(frame.expand(self.window, -1, -1), frame)

    def observe(self, state: State, frame: Tensor) -> State:
        """Return the state after the true `frame` (B, D)."""
        return State(torch.cat([state.hidden[1:], frame[None]]), frame)

    def absorb(self, state: State | None, frames: Tensor) -> State:
        """Return the state after the true `frames` (B, T, D), T >= 1."""
        state = self.start(frames[:, 0]) if state is None else state
        return State(torch.cat([state.hidden, frames.transpose(0, 1)])[-self.window :], frames[:, -1])
