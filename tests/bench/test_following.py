"""Slope and correlation have known values, and clips are put together frame by frame."""

import numpy as np
import pytest

from bench.harness.following import Following, pooled


def test_slope_and_correlation_are_those_of_a_line() -> None:
    wanted = np.array([0.0, 1.0, 2.0, 5.0])
    half = Following.of(wanted, 3 + wanted / 2)
    assert (half.slope, half.correlation) == (pytest.approx(0.5), pytest.approx(1))
    against = Following.of(wanted, -wanted)
    assert (against.slope, against.correlation) == (pytest.approx(-1), pytest.approx(-1))
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 500))
    noisy = Following.of(a, a + b)
    assert noisy.slope == pytest.approx(1, abs=0.1)
    assert noisy.correlation == pytest.approx(np.corrcoef(a, a + b)[0, 1])


def test_nothing_moving_has_no_slope() -> None:
    still = Following.of(np.array([0.2, 0.2]), np.array([0.1, 0.3]))
    assert np.isnan(still.slope)
    assert np.isnan(still.correlation)
    assert np.isnan(Following.of(np.array([]), np.array([])).slope)
    assert Following.of(np.array([0.1, 0.2]), np.array([0.3, 0.3])).slope == 0


def test_a_row_keeps_it() -> None:
    found = Following.of(np.array([0.0, 1.0]), np.array([0.0, 3.0]))
    row = found.columns("lips")
    assert set(row) == {"lips_variance", "lips_rendered_variance", "lips_covariance"}
    assert Following.from_row(row, "lips") == found


def test_pooling_is_what_all_frames_say_each_clips_mean_taken_off() -> None:
    random = np.random.default_rng(1)
    clips = [(random.normal(at, 1, n), random.normal(at, 2, n)) for at, n in ((0, 7), (5, 20), (-9, 3))]
    whole = pooled([(len(a), Following.of(a, b)) for a, b in clips])
    x, y = (np.concatenate([clip[i] - clip[i].mean() for clip in clips]) for i in (0, 1))
    assert whole.slope == pytest.approx((x * y).sum() / (x * x).sum())
    assert whole.correlation == pytest.approx((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()))


def test_clips_without_frames_count_for_nothing() -> None:
    one = Following.of(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    nothing = Following.of(np.array([]), np.array([]))
    assert pooled([(2, one), (0, nothing)]) == one
    assert np.isnan(pooled([(0, nothing)]).slope)
    assert np.isnan(pooled([]).slope)
