"""Forecasts without a network: the floor that a learned forecaster has to beat."""

from __future__ import annotations

import numpy as np

from models.forecast.checks import check_frames, check_steps
from shared.keypoints import Floats


class Hold:
    """Repeats the last frame."""

    name = "hold"

    def __init__(self) -> None:
        self._last: Floats | None = None

    def reset(self) -> None:
        """Forget everything observed."""
        self._last = None

    def observe(self, frames: Floats) -> None:
        """Take in consecutive frames (T, D)."""
        self._last = check_frames(frames)[-1].copy()

    def forecast(self, steps: int) -> Floats:
        """Return the last frame `steps` times: (steps, D)."""
        check_steps(steps)
        if self._last is None:
            raise RuntimeError("forecast before anything was observed")
        return np.repeat(self._last[None], steps, axis=0)

    def sample(self, count: int, steps: int, seed: int) -> Floats:  # noqa: ARG002 - nothing here is random
        """Return `count` times the same forecast: (count, steps, D)."""
        return np.repeat(self.forecast(steps)[None], count, axis=0)


class Damped:
    """Goes on at the recent velocity, which fades: x[t+n] = x[t] + v * sum(decay^i for i in 1..n).

    The velocity v is the mean change over the last `window` changes (at most as many as were observed); the
    sum is the damped trend of Gardner and McKenzie (Management Science 31(10), 1985) with the level at the
    last frame.
    """

    name = "damped"

    def __init__(self, decay: float = 0.5, window: int = 3) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"decay must be in [0, 1), not {decay}")
        if window < 1:
            raise ValueError(f"window must be at least 1, not {window}")
        self._decay = decay
        self._window = window
        self._recent: Floats | None = None

    def reset(self) -> None:
        """Forget everything observed."""
        self._recent = None

    def observe(self, frames: Floats) -> None:
        """Take in consecutive frames (T, D)."""
        frames = check_frames(frames)
        known = frames if self._recent is None else np.concatenate([self._recent, frames])
        self._recent = known[-(self._window + 1) :].copy()

    def forecast(self, steps: int) -> Floats:
        """Return the damped continuation (steps, D); after a single frame, that frame held."""
        check_steps(steps)
        if self._recent is None:
            raise RuntimeError("forecast before anything was observed")
        changes = max(len(self._recent) - 1, 1)
        velocity = (self._recent[-1] - self._recent[0]) / np.float32(changes)
        reach = np.cumsum(self._decay ** np.arange(1, steps + 1)).astype(np.float32)
        future: Floats = self._recent[-1] + reach[:, None] * velocity
        return future

    def sample(self, count: int, steps: int, seed: int) -> Floats:  # noqa: ARG002 - nothing here is random
        """Return `count` times the same forecast: (count, steps, D)."""
        return np.repeat(self.forecast(steps)[None], count, axis=0)
