"""Cost of a forecaster: a step of a forecast, and a draw of a hundred futures."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

import numpy as np

from bench.harness.report import Value
from models.build import one_thread
from shared.interfaces import Forecaster

STEPS, SAMPLES = 24, 100
_RUNS, _DRAWS = 15, 3
COLUMNS = ("model", "step_ms", "draw_s", "nats")


def speeds(forecasters: Sequence[Forecaster], dimensions: int) -> list[dict[str, Value]]:
    """Return a row a forecaster, for frames of so many numbers: medians of several runs.

    step_ms: a forecast of 24 frames after 6, one call at a time, divided by 24; without a GPU on one CPU
    core. draw_s: 100 futures of 24 frames; for these NumPy's BLAS takes what cores it likes.
    """
    with one_thread():
        return [_speed(forecaster, dimensions) for forecaster in forecasters]


def _speed(forecaster: Forecaster, dimensions: int) -> dict[str, Value]:
    moves = np.random.default_rng(0).normal(scale=0.01, size=(6, dimensions))
    past = moves.astype(np.float32).cumsum(axis=0)
    forecaster.reset()
    forecaster.observe(past)
    step = _timed(lambda: forecaster.forecast(STEPS), _RUNS) / STEPS
    draw = _timed(lambda: forecaster.sample(SAMPLES, STEPS, 0), _DRAWS)
    return {"model": forecaster.name, "step_ms": 1000 * step, "draw_s": draw}


def _timed(work: Callable[[], object], runs: int) -> float:
    """Return the median seconds of `work`, after a run that does not count."""
    work()
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return median(seconds)
