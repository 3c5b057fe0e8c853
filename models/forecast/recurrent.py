"""Common base of the learned forecasters: a recurrent state that frames or own predictions advance."""

from __future__ import annotations

from abc import abstractmethod
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.forecast.config import Predict
from models.forecast.scaling import Scaling


class State(NamedTuple):
    """All that a network remembers: `hidden` (layers, B, H) and the `last` frame (B, D), unscaled."""

    hidden: Tensor
    last: Tensor

    def expand(self, count: int) -> State:
        """Repeat a state of batch size 1 to batch size `count`."""
        return State(self.hidden.expand(-1, count, -1).contiguous(), self.last.expand(count, -1))


class ForecastNetwork(nn.Module):
    """A network that knows p(next frame | past frames). No loss and no optimiser in here.

    `noise_size` is how many standard normal numbers one sampled step takes, `dimensions` D, the numbers of a
    frame.
    """

    noise_size: int

    def __init__(self, predict: Predict, dimensions: int, layers: int, hidden: int) -> None:
        super().__init__()
        self.scaling = Scaling(predict, dimensions)
        self.dimensions = dimensions
        self._layers = layers
        self._hidden = hidden

    @abstractmethod
    def observe(self, state: State, frame: Tensor) -> State:
        """Return the state after the true `frame` (B, D)."""

    @abstractmethod
    def advance(self, state: State, noise: Tensor | None = None) -> State:
        """Predict one frame and take it as observed: the new state's `last` (B, D) is the prediction.

        Without `noise` (B, noise_size) it is the single most likely prediction, with it a sample.
        """

    def start(self, frame: Tensor) -> State:
        """Return the state before the first `frame` (B, D): nothing known, and no change so far."""
        hidden = frame.new_zeros(self._layers, len(frame), self._hidden)
        return State(hidden, frame)

    def absorb(self, state: State | None, frames: Tensor) -> State:
        """Return the state after the true `frames` (B, T, D), T >= 1; `None` knows nothing yet."""
        state = self.start(frames[:, 0]) if state is None else state
        for frame in frames.unbind(1):
            state = self.observe(state, frame)
        return state

    def rollout(self, state: State, steps: int, noise: Tensor | None = None) -> Tensor:
        """Run freely: return the next frames (B, steps, D); `noise` is (steps, B, noise_size)."""
        frames = []
        for index in range(steps):
            state = self.advance(state, None if noise is None else noise[index])
            frames.append(state.last)
        return torch.stack(frames, dim=1)


def perceptron(
    inputs: int, inner: int, outputs: int, depth: int, activation: type[nn.Module]
) -> nn.Sequential:
    """Build `depth` fully connected layers with `activation` between them."""
    sizes = [inputs, *[inner] * (depth - 1), outputs]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), activation()]
    return nn.Sequential(*layers[:-1])
