"""Two devices' counts of samples, and what callbacks that come late tell of them."""

import numpy as np
import pytest

from shared.media.drift import Drift
from shared.media.opus import RATE

STEP = 0.01


def follow(drift: Drift, seconds: float, *, ppm: float = 0.0, start: float = 0.0, seed: int = 0) -> float:
    """Measure for a while, callbacks a little late and at times by 20 ms; return where it truly is."""
    random = np.random.default_rng(seed)
    truly = start
    for _ in range(round(seconds / STEP)):
        truly += ppm * 1e-6 * RATE * STEP
        drift.measure(truly + 0.02 * RATE * (random.random() ** 4 - random.random() ** 4), STEP)
    return truly


@pytest.mark.parametrize("ppm", [0, 100, -100, 300])
def test_a_slow_drift_is_learned_from_rough_times(ppm: float) -> None:
    drift = Drift()
    truly = follow(drift, 60, ppm=ppm, start=5000.0)
    assert drift.rate / RATE * 1e6 == pytest.approx(ppm, abs=15)
    assert drift.ahead == pytest.approx(truly, abs=0.001 * RATE)


def test_the_place_moves_by_less_than_a_sample_at_once() -> None:
    drift = Drift()
    truly = follow(drift, 10)
    places = []
    for k in range(200):
        truly = follow(drift, STEP, start=truly, seed=k)
        places.append(drift.ahead)
    assert np.abs(np.diff(places)).max() < 1.0


def test_a_callback_that_is_very_late_is_not_believed_and_lost_samples_are() -> None:
    drift = Drift()
    truly = follow(drift, 10)
    before = drift.ahead
    drift.measure(truly + 0.5 * RATE, STEP)
    assert drift.ahead == pytest.approx(before, abs=1)
    # Half a second of samples is gone for good.
    gone = follow(drift, 1.0, start=truly + 0.5 * RATE)
    assert drift.ahead == pytest.approx(gone, abs=0.003 * RATE)
    assert abs(drift.rate) / RATE < 100e-6
