"""The recurrent forecasters in NumPy, each as the network in torch of the module that it names."""

from __future__ import annotations

import numpy as np

from models.forecast.config import GruConfig, GruNfConfig, Predict, VrnnConfig
from models.forecast.served import (
    GruCell,
    ServedNetwork,
    State,
    at,
    joined,
    linear,
    perceptron,
    relu,
)
from models.forecast.served_flow import ServedFlow, check_calibration
from models.stored import Weights
from shared.keypoints import Floats


class ServedVrnn(ServedNetwork):
    """`models.forecast.vrnn`."""

    def __init__(self, config: VrnnConfig, weights: Weights) -> None:
        super().__init__(config.predict, weights)
        self.noise_size = config.latent
        self._hidden = config.hidden
        width, hidden, inner, latent = config.features, config.hidden, config.inner, 2 * config.latent
        decoded = (2 if config.spread == "learned" else 1) * self.dimensions
        self._from_frame = linear(weights, "from_frame.0", self.dimensions, width)
        self._from_latent = linear(weights, "from_latent.0", config.latent, width)
        self._prior = perceptron(weights, "prior", (hidden, inner, latent), relu)
        self._posterior = perceptron(weights, "posterior", (width + hidden, inner, latent), relu)
        self._decoder = perceptron(weights, "decoder", (width + hidden, inner, decoded), relu)
        self._cell = GruCell(weights, "cell", "", 2 * width, hidden)

    def start(self, frame: Floats) -> State:
        """Return the state before the first `frame` (B, D)."""
        return State(np.zeros((1, len(frame), self._hidden), np.float32), frame)

    def follow(self, state: State, frames: Floats) -> State:
        """Return the state after the true `frames` (T, B, D), with the posterior's mean as latent."""
        for frame in frames:
            seen, hidden = self._seen(frame, state.last), state.hidden[0]
            mean = at(self._posterior(joined(seen, hidden)), None)
            state = self._after(frame, seen, relu(self._from_latent(mean)), hidden)
        return state

    def advance(self, state: State, noise: Floats | None) -> State:
        """Predict one frame, from the prior's mean or a sample of it, and the decoder's mean."""
        hidden = state.hidden[0]
        latent = relu(self._from_latent(at(self._prior(hidden), noise)))
        predicted = self._decoder(joined(latent, hidden))[:, : self.dimensions]
        frame = self.scaling.frame(predicted, state.last)
        return self._after(frame, self._seen(frame, state.last), latent, hidden)

    def _seen(self, frame: Floats, last: Floats) -> Floats:
        return relu(self._from_frame(self.scaling.describe(frame, last)))

    def _after(self, frame: Floats, seen: Floats, latent: Floats, hidden: Floats) -> State:
        return State(self._cell.follow(joined(seen, latent)[None], hidden), frame)


class ServedGruNetwork(ServedNetwork):
    """`models.forecast.gru.GruNetwork`: what follows frames with a GRU."""

    def __init__(self, predict: Predict, layers: int, hidden: int, weights: Weights) -> None:
        super().__init__(predict, weights)
        sizes = [self.dimensions, *[hidden] * (layers - 1)]
        self._cells = [GruCell(weights, "gru", f"_l{i}", size, hidden) for i, size in enumerate(sizes)]
        self._hidden = hidden

    def start(self, frame: Floats) -> State:
        """Return the state before the first `frame` (B, D)."""
        return State(np.zeros((len(self._cells), len(frame), self._hidden), np.float32), frame)

    def follow(self, state: State, frames: Floats) -> State:
        """Return the state after the true `frames` (T, B, D), layer by layer."""
        before = np.concatenate([state.last[None], frames[:-1]])
        states, hidden = self.scaling.describe(frames, before), []
        for cell, first in zip(self._cells, state.hidden, strict=True):
            states = cell.follow(states, first)
            hidden.append(states[-1])
        return State(np.stack(hidden), frames[-1])


class ServedGru(ServedGruNetwork):
    """`models.forecast.gru`."""

    def __init__(self, config: GruConfig, weights: Weights) -> None:
        super().__init__(config.predict, config.layers, config.hidden, weights)
        self._output = perceptron(weights, "output", (config.hidden, config.inner, self.dimensions), relu)

    def advance(self, state: State, noise: Floats | None) -> State:  # noqa: ARG002
        """Predict one frame."""
        return self.after(state, self._output(state.hidden[-1]))


class ServedGruNf(ServedGruNetwork):
    """`models.forecast.grunf`."""

    def __init__(self, config: GruNfConfig, weights: Weights) -> None:
        super().__init__(config.predict, config.layers, config.hidden, weights)
        self.noise_size = self.dimensions
        self._flow = ServedFlow(
            self.dimensions, config.hidden, config.blocks, config.inner, config.depth, weights
        )
        check_calibration(weights)

    def advance(self, state: State, noise: Floats | None) -> State:
        """Predict one frame, the image of zero or of `noise` (B, D)."""
        base = np.zeros_like(state.last) if noise is None else noise
        return self.after(state, self._flow.inverse(base, state.hidden[-1]))
