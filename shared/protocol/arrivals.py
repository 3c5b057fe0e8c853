"""Arrival counts of the other side's numbered messages, which loss is measured by. Pure counting."""

from __future__ import annotations

from collections import deque

MODULUS = 2**32
_MAX_AHEAD = 4096
"""A number that is further ahead, or older than as many before it, says nothing."""
_REMEMBERED = 1024


class SequenceTracker:
    """Counts pieces that are numbered one after the other modulo 2**32, as the chunks of SCTP (RFC 9260) are.

    `expected` have been sent up to the newest that came, `received` of them have come, each counted once.
    """

    def __init__(self) -> None:
        self._highest: int | None = None
        self._recent: deque[int] = deque(maxlen=_REMEMBERED)
        self._seen: set[int] = set()
        self.expected = 0
        self.received = 0

    def came(self, number: int) -> None:
        """Take note that the piece with this number has arrived."""
        if self._highest is None:
            self._highest = (number - 1) % MODULUS
        ahead = (number - self._highest) % MODULUS
        if ahead and ahead <= _MAX_AHEAD:
            self.expected += ahead
            self._highest = number
        elif number in self._seen or (self._highest - number) % MODULUS >= min(self.expected, _REMEMBERED):
            return
        if len(self._recent) == _REMEMBERED:
            self._seen.discard(self._recent[0])
        self._recent.append(number)
        self._seen.add(number)
        self.received += 1
