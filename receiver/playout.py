"""Playout timeline: when each frame is due. The delay follows the network in small, imperceptible steps."""

from __future__ import annotations

import math
from collections import deque

from shared.runtime.logs import logger

_log = logger("playout")
DELAY_SECONDS = 0.05
MAX_DELAY_SECONDS = 2.0
WINDOW_SECONDS = 10.0
"""The packets of this time say how much delay is needed: jitter that has gone is forgotten as slowly."""
SLEW = 0.05
"""The timeline is stretched or shortened by at most this share of the time that passes."""
LOST_SECONDS = 1.0
"""If packets are off by this much beyond any delay, the timeline is another one: it jumps there."""
DECIDING_SECONDS = 0.012
"""At least so long before it is due a frame that is not here is given up: it has to be forecast and drawn."""
_LOST_PACKETS = 5
_MAX_PACKETS = 512
_EASE_SECONDS = 1.0
_LONGEST_STEP_SECONDS = 0.1
_IGNORED_SHARE = 20


class Playout:
    """The receiver's timeline: frame n is due at anchor + n / fps.

    The first packet sets the anchor: its first frame is due `delay` seconds after it arrives. From then on
    the anchor slides to where nineteen of twenty packets of the last ten seconds are in time, which is
    `deciding` seconds before they are due, and the quickest waits at least `delay`, at most
    `MAX_DELAY_SECONDS`. Network jitter, a slow first packet, clocks that run apart and drawing that takes
    long are all followed in that way. Only where five packets in a row are off by over a second beyond that,
    since a machine slept or the sender was held up, the timeline jumps; and where the delay is a second more
    than anything has needed for ten, which nobody should talk through until it has slid away.
    """

    def __init__(self, fps: int, delay: float = DELAY_SECONDS) -> None:
        self._fps = fps
        self._least = delay
        self._anchor: float | None = None
        self._wanted = 0.0
        self._advanced = 0.0
        # Arrivals, and what each says: where an anchor without any delay would be.
        self._recent: deque[tuple[float, float]] = deque(maxlen=_MAX_PACKETS)
        self._sound: deque[tuple[float, float]] = deque(maxlen=_MAX_PACKETS)
        self._slowest_sound = -math.inf
        self._quickest = 0.0
        self.deciding = DECIDING_SECONDS
        """So long before it is due a frame is decided on: known, or else forecast."""
        self.jumps = self._needless = 0

    @property
    def started(self) -> bool:
        """True once a packet has arrived."""
        return self._anchor is not None

    @property
    def delay(self) -> float:
        """Seconds that the quickest recent packets wait at present; 0 before the first packet."""
        return self._anchor - self._quickest if self._anchor is not None else 0.0

    def processing(self, seconds: float) -> None:
        """Take note that a frame usually takes so many `seconds` from being decided on to being shown."""
        self.deciding = max(seconds, DECIDING_SECONDS)

    def arrived(self, first: int, now: float) -> None:
        """Take note that a packet starting with frame `first` arrived at `now` (monotonic seconds)."""
        self._take(self._recent, first, now)
        self._measure()
        if self._anchor is None:
            self._anchor, self._advanced = self._wanted, now
        elif self._is_lost(self._anchor) or self._is_needless(self._anchor):
            while len(self._recent) > _LOST_PACKETS:
                self._recent.popleft()
            self._measure()
            _log.debug("the timeline jumps by %.1f s", self._wanted - self._anchor)
            self._anchor = self._wanted
            self.jumps += 1

    def sound_arrived(self, first: float, now: float) -> None:
        """Take note that sound from the moment of frame `first` on was here at `now` (monotonic seconds).

        Sound is waited for as pictures are; it neither sets the timeline nor has it jump.
        """
        self._take(self._sound, first, now)
        self._slowest_sound = _within(self._sound)[1]
        if self._recent:
            self._measure()

    def _take(self, recent: deque[tuple[float, float]], first: float, now: float) -> None:
        recent.append((now, now - first / self._fps))
        while len(recent) > 1 and now - recent[0][0] > WINDOW_SECONDS:
            recent.popleft()

    def _measure(self) -> None:
        """Find the wanted anchor."""
        self._quickest, slowest = _within(self._recent)
        # Sound has not to be drawn.
        latest = max(slowest + self.deciding, self._slowest_sound + DECIDING_SECONDS)
        self._wanted = min(max(self._quickest + self._least, latest), self._quickest + MAX_DELAY_SECONDS)

    def _is_lost(self, anchor: float) -> bool:
        newest = [offset for _, offset in list(self._recent)[-_LOST_PACKETS:]]
        if len(newest) < _LOST_PACKETS:
            return False
        return min(newest) > anchor + LOST_SECONDS or max(newest) < anchor - MAX_DELAY_SECONDS - LOST_SECONDS

    def _is_needless(self, anchor: float) -> bool:
        """Say whether far more delay is given than is wanted, packet after packet."""
        self._needless = self._needless + 1 if anchor - self._wanted > LOST_SECONDS else 0
        return self._needless > _LOST_PACKETS

    def advance(self, now: float) -> None:
        """Let the timeline slide on towards the wanted delay. To be called about once a frame.

        What it slides by is at most `SLEW` of the time since the last call, and ever less on arriving.
        """
        if self._anchor is None:
            return
        elapsed = min(max(now - self._advanced, 0.0), _LONGEST_STEP_SECONDS)
        self._advanced = now
        gap = self._wanted - self._anchor
        most = min(SLEW, abs(gap) / _EASE_SECONDS) * elapsed
        self._anchor += math.copysign(min(most, abs(gap)), gap)

    def due(self, number: float) -> float:
        """Return when frame `number`, or a moment between two, is due (monotonic seconds)."""
        if self._anchor is None:
            raise RuntimeError("no packet has arrived yet")
        return self._anchor + number / self._fps

    def current(self, now: float) -> int:
        """Return the number of the last frame that is due at `now`."""
        if self._anchor is None:
            raise RuntimeError("no packet has arrived yet")
        # A hair of slack: a loop that wakes exactly on time must not read the frame before.
        return math.floor((now - self._anchor) * self._fps + 1e-6)


def _within(recent: deque[tuple[float, float]]) -> tuple[float, float]:
    """Return the least and the most of what packets say, but for one stray in twenty, as old duplicates."""
    offsets = sorted(offset for _, offset in recent)
    strays = max(1, len(offsets) // _IGNORED_SHARE) if len(offsets) > 2 else 0
    return offsets[strays], offsets[-1 - strays]
