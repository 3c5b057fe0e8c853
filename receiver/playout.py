"""Which frame is due when. Deadlines are absolute: an error made once is not carried along."""

from __future__ import annotations

import math
import statistics
from collections import deque

DELAY_SECONDS = 0.05
MAX_DELAY_SECONDS = 2.0
_PACKETS = 10
_EARLY_SECONDS = 0.1


class Playout:
    """The receiver's timeline: frame n is due at anchor + n / fps.

    The first packet sets the anchor: its first frame is due `delay` seconds after it arrives. Where half of
    ten packets come too late to be shown, the timeline moves back; where all ten wait over 0.1 s longer than
    `delay` (the first may have been slow itself), it moves forward.
    """

    def __init__(self, fps: int, delay: float = DELAY_SECONDS) -> None:
        self._fps = fps
        self._delay = delay
        self._anchor: float | None = None
        self._margins: deque[float] = deque(maxlen=_PACKETS)

    @property
    def started(self) -> bool:
        """True once a packet has arrived."""
        return self._anchor is not None

    def arrived(self, first: int, now: float) -> None:
        """Take note that a packet starting with frame `first` arrived at `now` (monotonic seconds)."""
        if self._anchor is None:
            self._anchor = now + self._delay - first / self._fps
            return
        self._margins.append(self.due(first) - now)
        if len(self._margins) < _PACKETS:
            return
        late = [margin for margin in self._margins if margin < 0]
        if len(late) >= _PACKETS / 2:
            # By the median: one stray from long ago must not stop the picture.
            self._move(statistics.median(late))
        elif min(self._margins) > self._delay + _EARLY_SECONDS:
            self._move(min(self._margins))

    def _move(self, margin: float) -> None:
        """Move the timeline so that a packet with `margin` has the wanted delay."""
        self._anchor = self.due(0) + self._delay - margin
        self._margins.clear()

    def due(self, number: int) -> float:
        """Return when frame `number` is due (monotonic seconds)."""
        if self._anchor is None:
            raise RuntimeError("no packet has arrived yet")
        return self._anchor + number / self._fps

    def current(self, now: float) -> int:
        """Return the number of the last frame that is due at `now`."""
        if self._anchor is None:
            raise RuntimeError("no packet has arrived yet")
        # A hair of slack: a loop that wakes exactly on time must not read the frame before.
        return math.floor((now - self._anchor) * self._fps + 1e-6)
