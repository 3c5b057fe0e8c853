"""Recent rates, from totals that only grow. Pure counting; `now` is given."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

_MIN_APART = 0.1


class Totals:
    """Takes totals by name as often as there are any, and returns what was added recently; memory is bounded.

    `seconds` is the longest time that will be asked about. Times never decrease.
    """

    def __init__(self, seconds: float) -> None:
        self._samples: deque[tuple[float, Mapping[str, int]]] = deque(maxlen=round(seconds / _MIN_APART) + 2)
        self._newest: tuple[float, Mapping[str, int]] = (0.0, {})

    def add(self, now: float, totals: Mapping[str, int]) -> None:
        """Take in the totals at `now`: always the same names."""
        self._newest = (now, totals)
        if not self._samples or now - self._samples[-1][0] >= _MIN_APART:
            self._samples.append(self._newest)

    def over(self, seconds: float, now: float) -> tuple[float, Mapping[str, int]]:
        """Return what was added in the last `seconds` before `now`, and over how many seconds that really is.

        Nothing is below 0, even where a total has fallen. {} where less than two moments are known.
        """
        at, totals = self._newest
        oldest = next((sample for sample in self._samples if now - sample[0] <= seconds), None)
        if oldest is None or oldest[0] >= at:
            return 0.0, {}
        return at - oldest[0], {name: max(0, total - oldest[1][name]) for name, total in totals.items()}
