"""A learned forecaster behind the common interface, whatever computes its network."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

import numpy as np

from models.forecast.checks import check_frames, check_steps
from shared.keypoints import Floats

# All that a network remembers of what it observed; a new one takes the place of an old one.
StateT = TypeVar("StateT")


class ForecastNetwork(Protocol[StateT]):
    """A network that knows p(next frame | past frames).

    `noise_size` is how many standard normal numbers one sampled step takes, `dimensions` D, the numbers of a
    frame.
    """

    noise_size: int
    dimensions: int

    def absorb(self, state: StateT | None, frames: Floats) -> StateT:
        """Return the state after the true `frames` (T, D), T >= 1; `None` knows nothing yet."""
        ...

    def rollout(self, state: StateT, steps: int, noise: Floats | None = None) -> Floats:
        """Run freely: return the most likely next frames (1, steps, D).

        With `noise` (steps, B, noise_size), B samples (B, steps, D) instead.
        """
        ...


class LearnedForecaster(Generic[StateT]):
    """Implements `shared.interfaces.Forecaster` by a network. Not thread-safe; one thread owns it."""

    def __init__(self, name: str, network: ForecastNetwork[StateT]) -> None:
        self.name = name
        self.dimensions = network.dimensions
        self._network = network
        self._state: StateT | None = None

    def reset(self) -> None:
        """Forget everything observed."""
        self._state = None

    def observe(self, frames: Floats) -> None:
        """Take in consecutive frames (T, D), T >= 1."""
        self._state = self._network.absorb(self._state, check_frames(frames, self._network.dimensions))

    def forecast(self, steps: int) -> Floats:
        """Return the single most likely continuation (steps, D)."""
        check_steps(steps)
        future: Floats = self._network.rollout(self._known(), steps)[0]
        return future

    def sample(self, count: int, steps: int, seed: int) -> Floats:
        """Draw `count` continuations (count, steps, D); the same seed gives the same ones."""
        check_steps(steps)
        if count < 1:
            raise ValueError(f"count must be at least 1, not {count}")
        # By NumPy always, so that a seed means the same noise whatever computes the network.
        shape = (steps, count, self._network.noise_size)
        noise = np.random.default_rng(seed).standard_normal(shape, np.float32)
        return self._network.rollout(self._known(), steps, noise)

    def _known(self) -> StateT:
        if self._state is None:
            raise RuntimeError("forecast before anything was observed")
        return self._state
