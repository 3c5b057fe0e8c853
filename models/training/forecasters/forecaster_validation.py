"""Validation of a forecaster on unseen people, next to the forecasters that need no training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from models.forecast.baselines import Damped, Hold
from models.forecast.recurrent import ForecastNetwork
from models.training.data.tracks import Tracks
from shared.errors import RequestError
from shared.interfaces import Forecaster
from shared.keypoints import Floats

OBSERVED = 6
HORIZONS = (6, 24)
LONGEST = max(HORIZONS)
MAX_WINDOWS = 2048


@dataclass(frozen=True)
class Figures:
    """Root-mean-square errors by horizon, in keypoint units: of all numbers, of the points' positions.

    Where a layout has no points, its positions err by 0.
    """

    overall: dict[int, float]
    positions: dict[int, float]

    def against(self, other: Figures) -> float:
        """Return the mean ratio of all errors to those of `other`: under 1 is better than it."""
        pairs = [(mine[n], theirs[n]) for mine, theirs in self._beside(other) for n in HORIZONS]
        return float(np.mean([mine / max(theirs, 1e-12) for mine, theirs in pairs]))

    def __str__(self) -> str:
        return ", ".join(
            f"{OBSERVED}->{n} {self.overall[n]:.4f} (positions {self.positions[n]:.4f})" for n in HORIZONS
        )

    def _beside(self, other: Figures) -> list[tuple[dict[int, float], dict[int, float]]]:
        return [(self.overall, other.overall), (self.positions, other.positions)]


class Validation:
    """Windows of 6 observed frames and 24 future ones, evenly chosen from `tracks`."""

    def __init__(self, tracks: Tracks) -> None:
        length = OBSERVED + LONGEST
        clips = [clip.frames for clip in tracks.clips if len(clip.frames) >= length]
        if not clips:
            raise RequestError(f"no validation track has {length} frames: give longer clips")
        places = [(clip, start) for clip in clips for start in range(0, len(clip) - length + 1, OBSERVED)]
        chosen = np.unique(np.linspace(0, len(places) - 1, min(len(places), MAX_WINDOWS)).round().astype(int))
        windows = np.stack([places[index][0][places[index][1] :][:length] for index in chosen])
        self._layout = tracks.layout
        self.past: Floats = windows[:, :OBSERVED]
        self.future: Floats = windows[:, OBSERVED:]
        self.hold = self.of_forecaster(Hold())
        self.damped = self.of_forecaster(Damped())

    def of_forecaster(self, forecaster: Forecaster) -> Figures:
        """Return the figures of any forecaster, one window at a time."""
        forecasts = []
        for past in self.past:
            forecaster.reset()
            forecaster.observe(past)
            forecasts.append(forecaster.forecast(LONGEST))
        return self._figures(np.stack(forecasts))

    def of_network(self, network: ForecastNetwork) -> Figures:
        """Return the figures of a network's single predictions, all windows at once."""
        training = network.training
        network.eval()
        device = network.scaling.mean.device
        with torch.inference_mode():
            state = network.absorb(None, torch.from_numpy(self.past).to(device))
            forecasts = network.rollout(state, LONGEST).cpu().numpy()
        network.train(training)
        return self._figures(forecasts)

    def _figures(self, forecasts: Floats) -> Figures:
        error: Floats = forecasts - self.future
        return Figures(
            {n: _root_mean_square(error[:, :n]) for n in HORIZONS},
            {n: _root_mean_square(self._layout.positions(error)[:, :n]) for n in HORIZONS},
        )


def _root_mean_square(error: Floats) -> float:
    return float(np.sqrt(np.square(error, dtype=np.float64).mean())) if error.size else 0.0
