"""Arrival statistics: how many messages, how late, how evenly. The sender steers its rate by them."""

from __future__ import annotations

import math
from collections import deque

from shared.clock import elapsed_ms
from shared.constants import FPS
from shared.protocol.reports import Report

RECENT_SECONDS = 1.5
"""The delay is the least of this time: a queue delays every message, jitter only some."""
BASE_SECONDS = 60.0
"""The quickest message but one of this time and of as much before is what delays are measured from: clocks
drift, and a number may be wrong by a wrap where a message has slept on its way."""
_MAX_RECENT = 512
_MAX_COUNT = 2**32 - 1
_MAX_MS = 2**16 - 1


class ReceiverStatistics:
    """Takes note of each keypoint message of a call; memory stays bounded."""

    def __init__(self) -> None:
        self._packets = 0
        self._highest = 0
        self._newest: tuple[float, int] | None = None
        self._recent: deque[tuple[float, float]] = deque(maxlen=_MAX_RECENT)
        self._last = 0.0
        self._jitter = 0.0
        self._base, self._base_before, self._base_since = _Quickest(), _Quickest(), -math.inf

    def arrived(self, first: int, count: int, captured_ms: int, now: float) -> None:
        """Take in that `count` frames from `first` came at `now` (s), the first captured at `captured_ms`.

        `captured_ms` is the sender's clock modulo 2**32, whatever it shows; `now` never decreases.
        """
        # The others were captured after the first, so what the message waited for them is no delay.
        transit = self._transit(captured_ms + round((count - 1) * 1000 / FPS), now)
        if self._packets:
            # RFC 3550, 6.4.1: J += (|D| - J) / 16.
            self._jitter += (abs(transit - self._last) - self._jitter) / 16
        self._last = transit
        self._packets += 1
        self._highest = max(self._highest, first + count - 1)
        self._recent.append((now, transit))
        if now - self._base_since > BASE_SECONDS:
            self._base_before, self._base, self._base_since = self._base, _Quickest(), now
        self._base.add(transit)

    def report(self, now: float, observed: int, forecast: int, held: int) -> Report:
        """Return the report at `now`; frames shown so far, by kind, are the caller's knowledge."""
        counts = (self._packets, self._highest, observed, forecast, held)
        packets, highest, *kinds = (min(count, _MAX_COUNT) for count in counts)
        return Report(packets, highest, _whole(self._delay(now)), _whole(self._jitter), *kinds)

    def _transit(self, captured_ms: int, now: float) -> float:
        """Return arrival minus capture in ms, up to a constant of the call."""
        before, captured = self._newest or (now, captured_ms)
        self._newest = now, captured_ms
        # From message to message: since the call began the sender's clock may have run over.
        return self._last + (now - before) * 1000 - elapsed_ms(captured_ms, captured)

    def _delay(self, now: float) -> float:
        """Return the least delay of the recent messages, or of the last one, above the base."""
        if not self._packets:
            return 0.0
        while len(self._recent) > 1 and now - self._recent[0][0] > RECENT_SECONDS:
            self._recent.popleft()
        least = min(transit for _, transit in self._recent)
        return max(0.0, least - min(self._base.value, self._base_before.value))


class _Quickest:
    """The least transit but one; of a single one, that."""

    def __init__(self) -> None:
        self._two: list[float] = []

    @property
    def value(self) -> float:
        return self._two[-1] if self._two else math.inf

    def add(self, transit: float) -> None:
        self._two = sorted([*self._two, transit])[:2]


def _whole(ms: float) -> int:
    return min(round(ms), _MAX_MS)
