"""The other side's current frame, from elapsed time: 30 per second since the call's first. Pure."""

from __future__ import annotations

import math

from shared.constants import FPS

MAX_FRAME_DISTANCE = 60 * FPS
"""Largest distance of a number from where time has got to. A connection is given up long before.

What a sender cannot have reached yet is a number of the past: modulo 2**16, every number is one, but in the
first 36 minutes."""
DRIFT = 0.01
"""The share of the time that passes by which the sender's clock may run faster or slower than ours."""
STOOD_SECONDS = 5.0
"""If all that arrives is too far away for so long, it is no rest of before: a clock has stood still."""


class FrameClock:
    """Follows a sender's frame numbers, which the wire carries modulo 2**16; `now` is in monotonic seconds.

    Whatever a peer says, its numbers run no further ahead of the time that has passed since `begin` than
    `MAX_FRAME_DISTANCE`, give or take `DRIFT`, or are under 2**16; and after any pause an honest sender is
    where it is expected.
    """

    def __init__(self) -> None:
        self._origin = self._followed = 0.0
        self._far_since = math.inf

    def begin(self, now: float) -> None:
        """Take note that frame 0 is at `now`."""
        self._origin = self._followed = now

    def at(self, now: float) -> float:
        """Return the number of the frame that is expected at `now`, or a moment between two; at least 0."""
        return max(0.0, (now - self._origin) * FPS)

    def latest(self, now: float) -> int:
        """Return the highest number that is expected at `now`."""
        return int(self.at(now)) + MAX_FRAME_DISTANCE

    def follow(self, number: int, now: float) -> bool:
        """Take note that frame `number` came at `now`; False where that is too far away for anything.

        Where nothing else comes for `STOOD_SECONDS`, that is what is expected from then on.
        """
        away = number - self.at(now)
        if abs(away) > MAX_FRAME_DISTANCE:
            self._far_since = min(self._far_since, now)
            if now - self._far_since < STOOD_SECONDS:
                return False
            self._origin, away = now - number / FPS, 0.0
        self._far_since = math.inf
        most = DRIFT * max(0.0, now - self._followed)
        self._origin -= min(max(away / FPS, -most), most)
        self._followed = max(self._followed, now)
        return True
