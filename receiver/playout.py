"""Which frame is due when. Deadlines are absolute: an error made once is not carried along."""

from __future__ import annotations

import math

DELAY_SECONDS = 0.05
_PACKETS_TO_RESET = 10
_EARLY_SECONDS = 0.5


class Playout:
    """The receiver's timeline: frame n is due at anchor + n / fps.

    The first packet sets the anchor: its first frame is due `delay` seconds after it arrives. When ten packets in a
    row come too late to be shown, or over half a second too early, the timeline is set anew by the last of them.
    """

    def __init__(self, fps: int, delay: float = DELAY_SECONDS) -> None:
        self._fps = fps
        self._delay = delay
        self._anchor: float | None = None
        self._off = 0

    @property
    def started(self) -> bool:
        """True once a packet has arrived."""
        return self._anchor is not None

    def arrived(self, first: int, now: float) -> None:
        """Take note that a packet starting with frame `first` arrived at `now` (monotonic seconds)."""
        if self._anchor is None:
            self._set(first, now)
            return
        margin = self.due(first) - now
        self._off = 0 if 0 <= margin <= _EARLY_SECONDS else self._off + 1
        if self._off >= _PACKETS_TO_RESET:
            self._set(first, now)

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

    def _set(self, first: int, now: float) -> None:
        self._anchor = now + self._delay - first / self._fps
        self._off = 0
