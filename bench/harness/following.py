"""Agreement of one series with another: slope and correlation, and how clips are put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Following:
    """Mean squares of a driving and a rendered series, each from its own mean, and of their product.

    slope = cov(d, r) / var(d): 1 where r moves as far as it should, 0 where it does not, below 0 where it
    moves the other way. correlation = cov(d, r) / sqrt(var(d) var(r)), in [-1, 1].
    """

    variance: float
    rendered_variance: float
    covariance: float

    @classmethod
    def of(cls, driving: npt.NDArray[Any], rendered: npt.NDArray[Any]) -> Following:
        """Return the statistics of two series (N,); NaN for none."""
        if not len(driving):
            return cls(np.nan, np.nan, np.nan)
        wanted, got = (np.asarray(series, np.float64) - np.mean(series) for series in (driving, rendered))
        return cls(float(np.mean(wanted**2)), float(np.mean(got**2)), float(np.mean(wanted * got)))

    @classmethod
    def from_row(cls, row: Mapping[str, Any], part: str) -> Following:
        """Return what `columns` put into a row."""
        return cls(*(float(row[name]) for name in (f"{part}_variance", *_others(part))))

    def columns(self, part: str) -> dict[str, float]:
        """Return the statistics as a row's columns, to be averaged with others."""
        values = (self.variance, self.rendered_variance, self.covariance)
        return dict(zip((f"{part}_variance", *_others(part)), values, strict=True))

    @property
    def slope(self) -> float:
        """The slope; NaN where nothing moves."""
        return self.covariance / self.variance if self.variance > 0 else np.nan

    @property
    def correlation(self) -> float:
        """The correlation; NaN where either does not move."""
        scale = float(np.sqrt(self.variance * self.rendered_variance))
        return self.covariance / scale if scale > 0 else np.nan


def pooled(parts: Sequence[tuple[int, Following]]) -> Following:
    """Return the statistics of all frames of several clips, by their numbers, each clip's means taken off."""
    there = [(count, part) for count, part in parts if count and not np.isnan(part.variance)]
    total = sum(count for count, _ in there)
    if not total:
        return Following(np.nan, np.nan, np.nan)
    sums = ((n * p.variance, n * p.rendered_variance, n * p.covariance) for n, p in there)
    return Following(*(float(value) / total for value in np.sum(list(sums), axis=0)))


def _others(part: str) -> tuple[str, str]:
    return f"{part}_rendered_variance", f"{part}_covariance"
