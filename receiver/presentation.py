"""Draw and display times of frames, and their presentation times, so that all keep one pace."""

from __future__ import annotations

from collections import deque

MAX_PROCESSING_SECONDS = 0.25
"""A machine that takes longer for a frame shows fewer than four per second, whatever the delay."""
_FRAMES = 60
_SHARE = 0.9
_STEP_SECONDS = 0.0005


class _Recent:
    """The last 60 values."""

    def __init__(self) -> None:
        self._values: deque[float] = deque(maxlen=_FRAMES)

    def add(self, value: float) -> None:
        self._values.append(value)

    def quantile(self, share: float) -> float:
        """Return what `share` of the values do not exceed; 0 before the first."""
        return sorted(self._values)[int(share * (len(self._values) - 1))] if self._values else 0.0


class Processing:
    """Typical time to draw a frame and hand it to the sink, waits left out."""

    def __init__(self) -> None:
        self._recent = _Recent()
        self.seconds = 0.0

    def took(self, seconds: float) -> None:
        """Take note that a frame took so many `seconds`."""
        self._recent.add(seconds)
        # The median: what single frames take longer, the presentation offset makes up for.
        self.seconds = min(self._recent.quantile(0.5), MAX_PROCESSING_SECONDS)


class PresentationTimes:
    """Delay from a frame's due time to its display: as long as nine of ten of the last 60 took to be ready.

    Frames that are here early are rendered early, those that have to be forecast are not; shown as soon as
    they are ready, the picture would hasten and tarry with every block. What it changes by is half a
    millisecond a frame, which nobody sees, and it is never more than `most` seconds, at which it starts.
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self._late = _Recent()
        self.offset = most

    def ready(self, late: float) -> None:
        """Take note that a frame was ready `late` seconds after it was due, or before (negative)."""
        self._late.add(late)
        wanted = min(max(self._late.quantile(_SHARE), 0.0), self._most)
        self.offset += min(max(wanted - self.offset, -_STEP_SECONDS), _STEP_SECONDS)
