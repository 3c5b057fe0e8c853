"""Clock drift between two devices' sample counts, estimated from callbacks that give the time roughly."""

from __future__ import annotations

import math

from shared.media.opus import RATE

_SPREAD = 0.006 * RATE
"""Of measurements, in samples: callbacks come some milliseconds late, and now and then by many."""
_PARTING = (50e-6 * RATE) ** 2
"""Variance of what is expected of two clocks: 50 ppm, in samples per second."""
_WANDER = 1.7e-4
"""Growth of that variance per second: clocks change with the room's warmth, slowly."""
_MAX_SKEW = 0.03 * RATE
_BELIEVED_SECONDS = 0.3


class Drift:
    """Filters measurements of how far one count is ahead of another (a Kalman filter of place and rate).

    `ahead` is in samples, `rate` in samples per second. A single measurement far off is left out; where
    they stay far off, since a device has lost samples, the filter begins anew there.
    """

    def __init__(self) -> None:
        self.ahead = math.nan
        self.rate = 0.0
        self._doubted = 0.0
        self._place, self._both, self._speed = _SPREAD**2, 0.0, _PARTING

    def measure(self, ahead: float, seconds: float) -> None:
        """Take in a measurement that comes `seconds` (at least 0) after the one before."""
        if math.isnan(self.ahead):
            self.ahead = ahead
            return
        self._predict(seconds)
        off = ahead - self.ahead
        self._doubted = self._doubted + seconds if abs(off) > _MAX_SKEW else 0.0
        if self._doubted > _BELIEVED_SECONDS:
            self.ahead, self._doubted = ahead, 0.0
            self._place, self._both = _SPREAD**2, 0.0
        elif not self._doubted:
            self._correct(min(max(off, -_SPREAD), _SPREAD))

    def _predict(self, seconds: float) -> None:
        self.ahead += self.rate * seconds
        self._place += seconds * (2 * self._both + seconds * self._speed)
        self._both += seconds * self._speed
        self._speed += seconds * _WANDER

    def _correct(self, off: float) -> None:
        total = self._place + _SPREAD**2
        to_place, to_rate = self._place / total, self._both / total
        self.ahead += to_place * off
        self.rate += to_rate * off
        self._speed -= to_rate * self._both
        self._both -= to_place * self._both
        self._place -= to_place * self._place
