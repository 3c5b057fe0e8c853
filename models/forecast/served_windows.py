"""The forecasters without a recurrence in NumPy, each as the network in torch of the module that it names."""

from __future__ import annotations

import numpy as np

from models.forecast.config import LIMIT, MIN_MOTION, LinearConfig, NfConfig, Predict, SimlpeConfig, VaeConfig
from models.forecast.served import Layer, ServedNetwork, State, at, linear, perceptron, relu
from models.forecast.served_flow import ServedFlow, check_calibration
from models.stored import Weights
from shared.keypoints import Floats

# torch's own.
_LAYER_NORM_EPSILON = 1e-5


class ServedWindow(ServedNetwork):
    """`models.forecast.window`: `hidden` (window, B, D) are the last frames, the oldest first."""

    def __init__(self, predict: Predict, window: int, weights: Weights) -> None:
        super().__init__(predict, weights)
        self.window = window

    def start(self, frame: Floats) -> State:
        """Return the state before the first `frame` (B, D): it has always been so."""
        return State(np.repeat(frame[None], self.window, axis=0), frame)

    def follow(self, state: State, frames: Floats) -> State:
        """Return the state after the true `frames` (T, B, D)."""
        return State(np.concatenate([state.hidden, frames])[-self.window :], frames[-1])

    def oldest(self, state: State) -> Floats:
        """Return the oldest frame (B, D) in the window, standardised."""
        return self.scaling.describe(state.hidden[0], state.last)


class ServedLinear(ServedWindow):
    """`models.forecast.linear`."""

    def __init__(self, config: LinearConfig, weights: Weights) -> None:
        super().__init__(config.predict, config.order + 1, weights)
        self._map = linear(weights, "map", config.order * self.dimensions, self.dimensions)

    def advance(self, state: State, noise: Floats | None) -> State:  # noqa: ARG002
        """Predict one frame."""
        changes = self.scaling.describe(state.hidden[1:], state.hidden[:-1])
        return self.after(state, self._map(changes.swapaxes(0, 1).reshape(len(state.last), -1)))


class ServedVae(ServedWindow):
    """`models.forecast.vae`."""

    def __init__(self, config: VaeConfig, weights: Weights) -> None:
        super().__init__(config.predict, config.lag, weights)
        self.noise_size = config.latent
        size, inner, latent = self.dimensions, config.inner, config.latent
        self._encoder = perceptron(weights, "encoder", (size, inner, 2 * latent), relu)
        self._decoder = perceptron(weights, "decoder", (latent, inner, size), relu)

    def advance(self, state: State, noise: Floats | None) -> State:
        """Predict one frame, from the mean of the latent or with `noise` (B, latent)."""
        return self.after(state, self._decoder(at(self._encoder(self.oldest(state)), noise)))


class ServedNf(ServedWindow):
    """`models.forecast.nf`."""

    def __init__(self, config: NfConfig, weights: Weights) -> None:
        super().__init__(config.predict, config.lag, weights)
        self.noise_size = size = self.dimensions
        self._flow = ServedFlow(size, size, config.blocks, config.inner, config.depth, weights)
        check_calibration(weights)

    def advance(self, state: State, noise: Floats | None) -> State:
        """Predict one frame, the image of zero or of `noise` (B, D)."""
        base = np.zeros_like(state.last) if noise is None else noise
        return self.after(state, self._flow.inverse(base, self.oldest(state)))


class ServedSimlpe(ServedWindow):
    """`models.forecast.simlpe`."""

    def __init__(self, config: SimlpeConfig, weights: Weights) -> None:
        super().__init__(config.predict, config.length, weights)
        length, width = config.length, config.width
        self._basis = weights.take("basis", length, length)
        self._enter = linear(weights, "enter", self.dimensions, width)
        self._blocks = [_temporal(weights, f"blocks.{i}", length, width) for i in range(config.blocks)]
        self._leave = linear(weights, "leave", width, self.dimensions)

    def advance(self, state: State, noise: Floats | None) -> State:  # noqa: ARG002
        """Predict one frame, the first of a block."""
        return self.follow(state, self._block(state)[:1])

    def run(self, state: State, steps: int, noise: Floats | None) -> Floats:  # noqa: ARG002
        """Return the next frames (B, steps, D), block by block."""
        blocks = [self._block(state)]
        while len(blocks) * self.window < steps:
            state = self.follow(state, blocks[-1])
            blocks.append(self._block(state))
        return np.concatenate(blocks)[:steps].swapaxes(0, 1)

    def _block(self, state: State) -> Floats:
        """Return the next frames (length, B, D)."""
        unit = self._liveliness(state.hidden)
        seen = self.scaling.describe(state.hidden, state.last) / unit
        x = self._enter(self._basis @ seen.swapaxes(0, 1))
        for block in self._blocks:
            x = x + block(x)
        changes = (self._basis.T @ self._leave(x)).swapaxes(0, 1)
        return state.last + changes * (unit * self.scaling.step)

    def _liveliness(self, frames: Floats) -> Floats:
        """Return the unit (B, 1) of motion in `frames` (T, B, D)."""
        changes = np.clip(np.diff(frames, axis=0) / self.scaling.step, -LIMIT, LIMIT)
        unit: Floats = np.sqrt(np.square(changes).mean((0, 2))[:, None] + np.float32(MIN_MOTION))
        return unit


def _temporal(weights: Weights, name: str, length: int, width: int) -> Layer:
    """Return a mixture of frequencies, normalised: (B, length, width) to the same."""
    matrix = weights.take(f"{name}.mix.weight", length, length)
    bias = weights.take(f"{name}.mix.bias", length)[:, None]
    gain, shift = (weights.take(f"{name}.norm.{part}", width) for part in ("weight", "bias"))

    def run(x: Floats) -> Floats:
        mixed = matrix @ x + bias
        mixed -= mixed.mean(-1, keepdims=True)
        spread = np.sqrt(np.square(mixed).mean(-1, keepdims=True) + np.float32(_LAYER_NORM_EPSILON))
        normal: Floats = mixed / spread * gain + shift
        return normal

    return run
