"""Sender-side delay of messages: what a busy machine takes is no delay of the path. Pure."""

from __future__ import annotations

from collections import deque

RECENT_SECONDS = 1.5
"""As the receiver looks back on what comes (`receiver.receiver_statistics`)."""
_MAX_MESSAGES = 1024


class OwnDelay:
    """Follows the time from when a message's last frame was captured until the message left.

    The receiver measures from the capture as well, so that its word of a delay has this in it.
    """

    def __init__(self) -> None:
        self._left: deque[tuple[float, float]] = deque(maxlen=_MAX_MESSAGES)

    def left(self, captured: float, now: float) -> None:
        """Take note that a message left at `now`, its last frame captured at `captured` (monotonic s)."""
        self._left.append((now, now - captured))

    def ms(self, now: float) -> int:
        """Return the least of the last moments above the quickest message but one; 0 before there are two."""
        every = sorted(seconds for _, seconds in self._left)
        recent = [seconds for at, seconds in self._left if now - at <= RECENT_SECONDS]
        if len(every) < 2 or not recent:
            return 0
        return max(0, round(1000 * (min(recent) - every[1])))
