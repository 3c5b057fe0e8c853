"""The linear autoregression is not trained by steps: it is solved, and only its penalty is searched."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from models.forecast.config import build_network
from models.forecast.linear import Linear, LinearConfig, fit
from models.training.data.tracks import Tracks
from models.training.forecasters import forecaster_data
from models.training.forecasters.forecaster_validation import Figures, Validation
from shared.errors import RequestError

RIDGES = (1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0)


def solve(config: LinearConfig, tracks: Tracks, validation: Validation) -> tuple[dict[str, Tensor], float]:
    """Return the weights whose penalty forecasts `validation` best, and their error as a share of hold's."""
    network = build_network(config, tracks.layout.dimensions)
    assert isinstance(network, Linear)
    forecaster_data.fit(network.scaling, tracks)
    clips = [torch.from_numpy(clip.frames) for clip in tracks.clips]
    best, weights = float("inf"), {}
    for ridge in RIDGES:
        figures = _judge(network, clips, ridge, validation)
        score = figures.against(validation.hold)
        print(f"linear  {figures} at penalty {ridge:g}{' *' if score < best else ''}", flush=True)
        if score < best:
            best, weights = score, copy.deepcopy(network.state_dict())
    return weights, best


def _judge(network: Linear, clips: list[Tensor], ridge: float, validation: Validation) -> Figures:
    try:
        fit(network, clips, ridge)
    except ValueError as error:
        raise RequestError(f"{error}: give longer clips") from error
    return validation.of_network(network)
