"""Which frame is due when. Deadlines are absolute: an error made once is not carried along."""

from __future__ import annotations

import math
import statistics

DELAY_SECONDS = 0.05
MAX_DELAY_SECONDS = 2.0
_PACKETS_TO_MOVE = 10
_EARLY_SECONDS = 0.1


class Playout:
    """The receiver's timeline: frame n is due at anchor + n / fps.

    The first packet sets the anchor: its first frame is due `delay` seconds after it arrives. Ten packets
    in a row that come too late to be shown move the timeline back; ten that each wait over 0.1 s longer than
    `delay` (the first may have been slow itself) move it forward.
    """

    def __init__(self, fps: int, delay: float = DELAY_SECONDS) -> None:
        self._fps = fps
        self._delay = delay
        self._anchor: float | None = None
        self._off: list[float] = []  # the margins of packets in a row that are all late, or all early

    @property
    def started(self) -> bool:
        """True once a packet has arrived."""
        return self._anchor is not None

    def arrived(self, first: int, now: float) -> None:
        """Take note that a packet starting with frame `first` arrived at `now` (monotonic seconds)."""
        if self._anchor is None:
            self._anchor = now + self._delay - first / self._fps
            return
        margin = self.due(first) - now
        is_late, is_early = margin < 0, margin > self._delay + _EARLY_SECONDS
        if not (is_late or is_early) or (self._off and (self._off[0] < 0) != is_late):
            self._off.clear()
        if is_late or is_early:
            self._off.append(margin)
        if len(self._off) >= _PACKETS_TO_MOVE:
            # One stray among late packets must not stop the picture; of early ones none may become late.
            typical = statistics.median(self._off) if is_late else min(self._off)
            self._anchor += self._delay - typical
            self._off.clear()

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
