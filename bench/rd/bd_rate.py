"""Rate-distortion curves: what a method reaches at a rate, what it needs for a quality, and what that saves.

The Bjontegaard-delta rate is that of VCEG-M33 (G. Bjontegaard, 2001) with the piecewise cubic interpolation
of VCEG-AI11 and JCTVC-L1100: the logarithm of the rate as a shape-preserving cubic (PCHIP) of the quality,
averaged over the qualities that both curves reach.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from shared.errors import RequestError


class Curve:
    """The points (rate, distortion) of one method that none of its other points beats in both.

    Rates are positive, distortions lower for better pictures; for a measure such as SSIM give its negative.
    In between, log rate and distortion follow a PCHIP interpolation. Raises ValueError where no point is
    finite.
    """

    def __init__(self, points: Iterable[tuple[float, float]]) -> None:
        kept: list[tuple[float, float]] = []
        for rate, distortion in sorted(p for p in points if p[0] > 0 and all(map(math.isfinite, p))):
            if not kept or distortion < kept[-1][1]:
                kept.append((rate, distortion))
        if not kept:
            raise ValueError("a curve needs a point with a positive rate and a finite distortion")
        self.points = tuple(kept)

    @property
    def lowest_rate(self) -> float:
        """The lowest rate measured."""
        return self.points[0][0]

    @property
    def highest_rate(self) -> float:
        """The rate of the best picture measured; more was worth nothing, or was not asked for."""
        return self.points[-1][0]

    @property
    def best(self) -> float:
        """The lowest distortion."""
        return self.points[-1][1]

    @property
    def worst(self) -> float:
        """The distortion at the lowest rate."""
        return self.points[0][1]

    def distortion_at(self, rate: float) -> float:
        """Return the lowest distortion at no more than `rate`; NaN below the lowest rate."""
        if rate < self.lowest_rate:
            return math.nan
        if rate >= self.highest_rate:
            return self.best
        rates, distortions = zip(*self.points, strict=True)
        return float(_pchip(np.log(rates), np.array(distortions))(math.log(rate)))

    def rate_for(self, distortion: float) -> float:
        """Return the rate that `distortion` needs: infinity past the best, the lowest rate for the worst."""
        if distortion < self.best:
            return math.inf
        if distortion >= self.worst:
            return self.lowest_rate
        return math.exp(float(self._log_rate()(distortion)))

    def _log_rate(self) -> Callable[..., float]:
        rates, distortions = zip(*self.points[::-1], strict=True)
        return _pchip(np.array(distortions), np.log(rates))

    def mean_log_rate(self, low: float, high: float) -> float:
        """Return the mean of log(rate) over the distortions from `low` to `high`, both on the curve."""
        return float(self._log_rate().integrate(low, high)) / (high - low)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Delta:
    """By how many percent one curve's rate differs from another's, over the distortions `low` to `high`."""

    percent: float
    low: float
    high: float


def bd_rate(anchor: Curve, test: Curve) -> Delta | None:
    """Return how much more rate (negative: less) `test` needs than `anchor` for the same pictures.

    None where they share no range of distortions: one is then better at all rates measured, and a number
    would have to be made up.
    """
    low, high = max(anchor.best, test.best), min(anchor.worst, test.worst)
    if not low < high:
        return None
    difference = test.mean_log_rate(low, high) - anchor.mean_log_rate(low, high)
    return Delta(100 * math.expm1(difference), low, high)


def check_scipy() -> None:
    """Raise RequestError where SciPy, which interpolates, is not installed."""
    try:
        import scipy.interpolate  # noqa: F401
    except ImportError as error:
        raise RequestError(
            "Curves need SciPy, but the measuring extra is not installed; "
            "install it with: pip install 'keycast[bench]'."
        ) from error


def _pchip(x: np.typing.NDArray[np.float64], y: np.typing.NDArray[np.float64]) -> Callable[..., float]:
    from scipy.interpolate import PchipInterpolator

    made: Callable[..., float] = PchipInterpolator(x, y)
    return made
