"""Learned forecasters in torch: on GPUs, and what those in NumPy are compared with."""

from __future__ import annotations

from typing import cast

import torch

from models.forecast.learned import LearnedForecaster
from models.forecast.recurrent import ForecastNetwork, State
from shared.keypoints import Floats


class _InTorch:
    """Implements `models.forecast.learned.ForecastNetwork`."""

    def __init__(self, network: ForecastNetwork, device: str | torch.device) -> None:
        self._device = torch.device(device)
        self.network = network.to(self._device).eval().requires_grad_(requires_grad=False)
        self.noise_size = network.noise_size
        self.dimensions = network.dimensions

    @torch.inference_mode()
    def absorb(self, state: State | None, frames: Floats) -> State:
        return self.network.absorb(state, torch.from_numpy(frames)[None].to(self._device))

    @torch.inference_mode()
    def rollout(self, state: State, steps: int, noise: Floats | None = None) -> Floats:
        if noise is None:
            return cast(Floats, self.network.rollout(state, steps).cpu().numpy())
        drawn = torch.from_numpy(noise).to(self._device)
        return cast(Floats, self.network.rollout(state.expand(noise.shape[1]), steps, drawn).cpu().numpy())


class NeuralForecaster(LearnedForecaster[State]):
    """Forecasts with a network in torch. Not thread-safe; one thread owns it."""

    def __init__(self, name: str, network: ForecastNetwork, device: str | torch.device = "cpu") -> None:
        super().__init__(name, _InTorch(network, device))
