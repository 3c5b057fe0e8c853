"""The forecasters' networks in NumPy, as calls run them, without loading torch.

Networks, layers and weights are those of the modules of the same names; `tests` compare all of them. Arrays
are float32, with the batch first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from models.forecast.config import LIMIT, LOG_VARIANCE, Predict
from models.stored import Weights
from shared.keypoints import Floats

Layer = Callable[[Floats], Floats]


class State(NamedTuple):
    """All that a network remembers: `hidden` (layers, B, H) and the `last` frame (B, D), unscaled."""

    hidden: Floats
    last: Floats


class Scaling:
    """Standardises frames: levels by mean and std, changes by `step`; see `models.forecast.scaling`."""

    def __init__(self, predict: Predict, weights: Weights) -> None:
        self._level = predict == "frame"
        self.dimensions = weights.length("scaling.mean")
        self._mean = weights.take("scaling.mean", self.dimensions)
        self._std = weights.take_positive("scaling.std", self.dimensions)
        self.step = weights.take_positive("scaling.step", self.dimensions)

    def describe(self, frame: Floats, last: Floats) -> Floats:
        """Return a network's input (..., D), in [-10, 10], for `frame` (..., D) following `last`."""
        target = (frame - self._mean) / self._std if self._level else (frame - last) / self.step
        bounded: Floats = np.clip(target, -LIMIT, LIMIT)
        return bounded

    def frame(self, target: Floats, last: Floats) -> Floats:
        """Return the frame (..., D) that a prediction stands for."""
        return self._mean + target * self._std if self._level else last + target * self.step


class ServedNetwork(ABC):
    """Implements `models.forecast.learned.ForecastNetwork`; see `models.forecast.recurrent`."""

    noise_size = 0

    def __init__(self, predict: Predict, weights: Weights) -> None:
        self.scaling = Scaling(predict, weights)
        self.dimensions = self.scaling.dimensions

    @abstractmethod
    def start(self, frame: Floats) -> State:
        """Return the state before the first `frame` (B, D)."""

    @abstractmethod
    def follow(self, state: State, frames: Floats) -> State:
        """Return the state after the true `frames` (T, B, D)."""

    @abstractmethod
    def advance(self, state: State, noise: Floats | None) -> State:
        """Predict one frame and take it as observed: the new state's `last` (B, D) is the prediction.

        Without `noise` (B, noise_size) it is the single most likely prediction, with it a sample.
        """

    def after(self, state: State, target: Floats) -> State:
        """Return the state after the frame that is predicted, standardised, to be `target` (B, D)."""
        return self.follow(state, self.scaling.frame(target, state.last)[None])

    def absorb(self, state: State | None, frames: Floats) -> State:
        """Return the state after the true `frames` (T, D), T >= 1; `None` knows nothing yet."""
        frames = frames[:, None]
        with np.errstate(all="ignore"):  # a peer may send any numbers
            return self.follow(self.start(frames[0]) if state is None else state, frames)

    def rollout(self, state: State, steps: int, noise: Floats | None = None) -> Floats:
        """Run freely; see `ForecastNetwork.rollout`."""
        if noise is not None:
            state = _repeated(state, noise.shape[1])
        with np.errstate(all="ignore"):
            return self.run(state, steps, noise)

    def run(self, state: State, steps: int, noise: Floats | None) -> Floats:
        """Return the next frames (B, steps, D); `noise` is (steps, B, noise_size)."""
        frames = []
        for index in range(steps):
            state = self.advance(state, None if noise is None else noise[index])
            frames.append(state.last)
        return np.stack(frames, axis=1)


def _repeated(state: State, count: int) -> State:
    return State(np.repeat(state.hidden, count, axis=1), np.repeat(state.last, count, axis=0))


def linear(weights: Weights, name: str, inputs: int, outputs: int) -> Layer:
    """Return a fully connected layer: (..., inputs) to (..., outputs)."""
    matrix = np.ascontiguousarray(weights.take(f"{name}.weight", outputs, inputs).T)
    bias = weights.take(f"{name}.bias", outputs)
    return lambda x: x @ matrix + bias


def perceptron(weights: Weights, name: str, sizes: tuple[int, ...], activation: Layer) -> Layer:
    """Return fully connected layers of `sizes` with `activation` between them."""
    layers = [linear(weights, f"{name}.{2 * i}", *pair) for i, pair in enumerate(pairwise(sizes))]

    def run(x: Floats) -> Floats:
        for layer in layers[:-1]:
            x = activation(layer(x))
        return layers[-1](x)

    return run


def relu(x: Floats) -> Floats:
    """Return what of x is positive."""
    positive: Floats = np.maximum(x, np.float32(0))
    return positive


def sigmoid(x: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)), which never overflows so."""
    half = np.float32(0.5)
    squashed: Floats = half * np.tanh(half * x) + half
    return squashed


class GruCell:
    """One layer of gated recurrent units, as torch's `GRU` and `GRUCell` compute and name them.

    r, z = sigmoid(W x + U h), n = tanh(W x + r U h), h' = (1 - z) n + z h, biases inside of all.
    """

    def __init__(self, weights: Weights, name: str, suffix: str, inputs: int, hidden: int) -> None:
        self._hidden = hidden
        self._from_input = _gates(weights, f"{name}.{{}}_ih{suffix}", inputs, hidden)
        self._from_hidden = _gates(weights, f"{name}.{{}}_hh{suffix}", hidden, hidden)

    def follow(self, inputs: Floats, hidden: Floats) -> Floats:
        """Return the states (T, B, H) after each of `inputs` (T, B, n), from the state `hidden` (B, H)."""
        states = []
        for given in self._from_input(inputs):
            hidden = self._next(given, self._from_hidden(hidden), hidden)
            states.append(hidden)
        return np.stack(states)

    def _next(self, given: Floats, kept: Floats, hidden: Floats) -> Floats:
        gated = 2 * self._hidden
        gates = sigmoid(given[:, :gated] + kept[:, :gated])
        reset, update = gates[:, : self._hidden], gates[:, self._hidden :]
        new = np.tanh(given[:, gated:] + reset * kept[:, gated:])
        following: Floats = new + update * (hidden - new)
        return following


def _gates(weights: Weights, name: str, inputs: int, hidden: int) -> Layer:
    matrix = np.ascontiguousarray(weights.take(name.format("weight"), 3 * hidden, inputs).T)
    bias = weights.take(name.format("bias"), 3 * hidden)
    return lambda x: x @ matrix + bias


def at(raw: Floats, noise: Floats | None) -> Floats:
    """Return the mean (B, n) of the Gaussian `raw` (B, 2n), or the sample of it that `noise` stands for."""
    size = raw.shape[-1] // 2
    if noise is None:
        return raw[:, :size]
    log_variance = LOG_VARIANCE * np.tanh(raw[:, size:] / LOG_VARIANCE)
    sample: Floats = raw[:, :size] + noise * np.exp(0.5 * log_variance)
    return sample


def joined(first: Floats, second: Floats) -> Floats:
    """Return both (B, n), (B, m) side by side."""
    return np.concatenate([first, second], axis=-1)
