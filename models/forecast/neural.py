"""A learned forecaster behind the common interface: NumPy outside, the network inside."""

from __future__ import annotations

from typing import cast

import torch

from models.forecast.checks import check_frames, check_steps
from models.forecast.recurrent import RecurrentNetwork, State
from shared.keypoints import Floats


class NeuralForecaster:
    """Forecasts with a recurrent network. Not thread-safe; one thread owns it."""

    def __init__(self, name: str, network: RecurrentNetwork, device: str | torch.device = "cpu") -> None:
        self.name = name
        self._device = torch.device(device)
        self._network = network.to(self._device).eval().requires_grad_(requires_grad=False)
        self._state: State | None = None

    def reset(self) -> None:
        """Forget everything observed."""
        self._state = None

    def observe(self, frames: Floats) -> None:
        """Take in consecutive frames (T, 60), T >= 1."""
        batch = torch.from_numpy(check_frames(frames))[None]
        with torch.inference_mode():
            self._state = self._network.absorb(self._state, batch.to(self._device))

    def forecast(self, steps: int) -> Floats:
        """Return the single most likely continuation (steps, 60)."""
        check_steps(steps)
        with torch.inference_mode():
            frames = self._network.rollout(self._known(), steps)
        return cast(Floats, frames[0].cpu().numpy())

    def sample(self, count: int, steps: int, seed: int) -> Floats:
        """Draw `count` continuations (count, steps, 60); the same seed gives the same ones."""
        check_steps(steps)
        if count < 1:
            raise ValueError(f"count must be at least 1, not {count}")
        # Drawn on the CPU, so that a seed means the same noise on every device.
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(steps, count, self._network.noise_size, generator=generator).to(self._device)
        with torch.inference_mode():
            frames = self._network.rollout(self._known().expand(count), steps, noise)
        return cast(Floats, frames.cpu().numpy())

    def _known(self) -> State:
        if self._state is None:
            raise RuntimeError("forecast before anything was observed")
        return self._state
