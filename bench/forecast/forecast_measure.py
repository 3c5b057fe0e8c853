"""Measurements of `bench forecast` on one clip: forecasts of its windows, and what is drawn from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.forecast.windows import Horizon, Mode, Scene, keypoints_of, scene, truth
from bench.harness.clip_set import Clip, ClipError
from bench.harness.metrics import mae
from models.forecast.likelihood import log_likelihood, lower_bound
from models.forecast.networks import Density
from models.forecast.vrnn import Vrnn
from models.jepa import Doubles, Features
from shared.interfaces import Backbone, Forecaster
from shared.keypoints import Floats, Pictures

TRUTH = "truth"


@dataclass(frozen=True)
class Plan:
    """The request: `windows` is how many are drawn of a clip and horizon at most, 0 for all.

    `densities` are the networks, by name, that know how likely a clip is.
    """

    modes: Sequence[Mode]
    horizons: Sequence[Horizon]
    forecasters: Sequence[Forecaster]
    windows: int
    features: Features | None = None
    densities: Mapping[str, Density | Vrnn] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawn:
    """A forecast that was drawn: its pixels' error, and the features of its video where there are any."""

    mode: Mode
    horizon: str
    model: str
    mae: float
    features: Doubles | None


@dataclass(frozen=True)
class Missed:
    """Error of a model's forecast keypoints in one window: the mean square of all numbers."""

    horizon: str
    model: str
    square: float


@dataclass
class Measured:
    """All of one clip; no pictures. `truths` are the features of the true windows by mode and horizon.

    `liveliest` is the one of the longest windows drawn in which keypoints move most: how far, horizon, start.
    `nats` are log-likelihoods per number by model, the clip's mean (see `likelihoods`).
    """

    clip: Clip
    drawn: list[Drawn] = field(default_factory=list)
    missed: list[Missed] = field(default_factory=list)
    truths: list[tuple[Mode, str, Doubles]] = field(default_factory=list)
    nats: dict[str, float] = field(default_factory=dict)
    liveliest: tuple[float, Horizon, int] | None = None
    renders: int = 0


def measure(backbone: Backbone, plan: Plan, clips: Sequence[Clip], clip: Clip) -> Measured:
    """Forecast every window of `clip`, and draw some of them in each mode.

    Raises ClipError where it is no sound video or shorter than every window.
    """
    keypoints = keypoints_of(backbone, clip)
    done = Measured(clip, nats=likelihoods(plan.densities, keypoints))
    for horizon in plan.horizons:
        for start in horizon.starts(len(keypoints)):
            done.missed += _missed(plan, keypoints, horizon, start)
    if not done.missed:
        raise ClipError(f"{clip} is shorter than every window.")
    places = [
        (start, horizon)
        for horizon in plan.horizons
        for start in horizon.starts(len(keypoints), plan.windows)
    ]
    # In order of time, so that what overlapping windows share is still remembered.
    places.sort(key=lambda place: place[0])
    for mode in plan.modes:
        where = scene(backbone, mode, clips, clip, keypoints)
        if where is None:
            continue
        for start, horizon in places:
            _draw(plan, where, done, keypoints, horizon, start)
        done.renders += where.renders
    return done


def likelihoods(densities: Mapping[str, Density | Vrnn], keypoints: Floats) -> dict[str, float]:
    """Return log p(frame | frames before) per number by model, the mean over a clip's `keypoints` (T, D).

    In nats, of a density in keypoint units: exact for flows, of a VRNN the evidence lower bound. Nothing of a
    clip of one frame.
    """
    if len(keypoints) < 2:
        return {}
    return {name: _nats(network, keypoints) / keypoints.shape[1] for name, network in densities.items()}


def _nats(network: Density | Vrnn, keypoints: Floats) -> float:
    if isinstance(network, Vrnn):
        return float(lower_bound(network, keypoints).mean())
    return float(log_likelihood(network, keypoints).mean())


def forecast(forecaster: Forecaster, keypoints: Floats, horizon: Horizon, start: int) -> Floats:
    """Return what follows the observed part of the window at `start`, as forecast: (predicted, D)."""
    forecaster.reset()
    forecaster.observe(keypoints[start : start + horizon.observed])
    return forecaster.forecast(horizon.predicted)


def _missed(plan: Plan, keypoints: Floats, horizon: Horizon, start: int) -> list[Missed]:
    future = keypoints[start + horizon.observed : start + horizon.length]
    return [
        Missed(
            str(horizon),
            forecaster.name,
            float(
                np.square(forecast(forecaster, keypoints, horizon, start) - future, dtype=np.float64).mean()
            ),
        )
        for forecaster in plan.forecasters
    ]


def _draw(  # noqa: PLR0917 - a window of a scene, and where its figures go
    plan: Plan, where: Scene, done: Measured, keypoints: Floats, horizon: Horizon, start: int
) -> None:
    first = start + horizon.observed
    real = truth(where, done.clip, keypoints, first, horizon.predicted)
    name = str(horizon)
    moved = float(np.abs(keypoints[first : first + horizon.predicted] - keypoints[first - 1]).mean())
    if done.liveliest is None or (horizon.length, moved) > (done.liveliest[1].length, done.liveliest[0]):
        done.liveliest = (moved, horizon, start)
    if plan.features is not None:
        done.truths.append((where.mode, name, plan.features(real)))
    for forecaster in plan.forecasters:
        pictures = where.draw(forecast(forecaster, keypoints, horizon, start))
        error = _error(pictures, real)
        found = None if plan.features is None else plan.features(pictures)
        done.drawn.append(Drawn(where.mode, name, forecaster.name, error, found))


def _error(pictures: Pictures, real: Pictures) -> float:
    """Return equation 33 of the paper, the mean absolute error of all values, in [0, 1]."""
    return float(np.mean([mae(a, b) for a, b in zip(pictures, real, strict=True)]))
