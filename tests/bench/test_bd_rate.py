"""Curves with known answers: the rate one needs for the other's pictures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.rd.bd_rate import Curve, bd_rate


def line(factor: float, low: float = 1.0, high: float = 16.0, count: int = 5) -> Curve:
    """Return points of distortion = 10 - log2(rate / factor), straight over the logarithm of the rate."""
    rates = np.geomspace(low, high, count) * factor
    return Curve((float(rate), 10 - math.log2(rate / factor)) for rate in rates)


def test_a_curve_that_needs_a_fixed_factor_of_the_rate() -> None:
    for factor in (0.5, 1.0, 3.0):
        delta = bd_rate(line(1), line(factor))
        assert delta is not None
        assert delta.percent == pytest.approx(100 * (factor - 1))
        assert (delta.low, delta.high) == (pytest.approx(6), pytest.approx(10))


def test_the_mean_is_one_of_logarithms_over_the_shared_range_only() -> None:
    # The test needs as much at distortion 10 and four times as much at 6: twice as much in the mean of logs.
    test = Curve((2.0 ** (1.5 * (10 - d)), d) for d in (10.0, 9.0, 8.0, 7.0, 6.0))
    delta = bd_rate(line(1), test)
    assert delta is not None
    assert delta.percent == pytest.approx(100)
    # Only from 8 to 10 is shared: the factor there runs from 1 to 2.
    short = bd_rate(line(1, high=4.0), test)
    assert short is not None
    assert (short.low, short.high) == (pytest.approx(8), pytest.approx(10))
    assert short.percent == pytest.approx(100 * (math.sqrt(2) - 1))


def test_swapping_the_curves_turns_the_answer_round() -> None:
    one, other = line(1), Curve((r, 9.5 - 0.9 * math.log2(r) ** 1.2) for r in (1.0, 2.5, 5.0, 9.0, 14.0))
    there, back = bd_rate(one, other), bd_rate(other, one)
    assert there is not None
    assert back is not None
    assert (1 + there.percent / 100) * (1 + back.percent / 100) == pytest.approx(1)


def test_the_cubic_is_exact_where_the_points_lie_and_never_leaves_them() -> None:
    curve = Curve([(5.0, 0.9), (8.0, 0.5), (12.0, 0.45), (30.0, 0.1)])
    for rate, distortion in curve.points:
        assert curve.distortion_at(rate) == pytest.approx(distortion)
        assert curve.rate_for(distortion) == pytest.approx(rate)
    between = [curve.distortion_at(rate) for rate in np.linspace(5, 30, 50)]
    assert between == sorted(between, reverse=True)
    assert 0.1 <= min(between) <= max(between) <= 0.9


def test_without_a_shared_range_no_number_is_made_up() -> None:
    good, bad = Curve([(10.0, 0.2), (20.0, 0.1)]), Curve([(5.0, 0.9), (40.0, 0.5)])
    assert bd_rate(good, bad) is None
    assert bd_rate(bad, good) is None
    assert bd_rate(good, Curve([(1.0, 0.15)])) is None


def test_points_that_another_beats_do_not_count() -> None:
    curve = Curve([(8.0, 0.5), (5.0, 0.6), (6.0, 0.7), (8.0, 0.55), (9.0, 0.5), (12.0, math.nan), (0.0, 0.0)])
    assert curve.points == ((5.0, 0.6), (8.0, 0.5))
    with pytest.raises(ValueError, match="finite"):
        Curve([(3.0, math.nan), (-1.0, 0.5)])


def test_the_ends_of_a_curve() -> None:
    curve = Curve([(5.0, 0.9), (20.0, 0.3)])
    assert math.isnan(curve.distortion_at(4.9))
    assert curve.distortion_at(100) == 0.3
    assert curve.rate_for(0.95) == 5
    assert curve.rate_for(0.29) == math.inf
    assert (curve.lowest_rate, curve.highest_rate, curve.best, curve.worst) == (5, 20, 0.3, 0.9)
