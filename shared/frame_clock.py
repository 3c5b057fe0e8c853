"""Which frame the other side is at, by the time that has passed: 30 a second since the call's first. Pure."""

from __future__ import annotations

from shared.config import FPS
from shared.errors import PeerError

MOST_AWAY_FRAMES = 60 * FPS
"""How far a number may be from where time has got to. A connection is given up long before."""
DRIFT = 0.01
"""The share of the time that passes by which the sender's clock may run faster or slower than ours."""


class FrameClock:
    """Follows a sender's frame numbers, which the wire tells modulo 2**16; `now` is in monotonic seconds.

    Whatever a peer says, its numbers stay within `MOST_AWAY_FRAMES` of the time that has passed since
    `begin`, give or take `DRIFT`; and after any pause an honest sender is where it is expected.
    """

    def __init__(self) -> None:
        self._origin = self._followed = 0.0

    def begin(self, now: float) -> None:
        """Take note that frame 0 is at `now`."""
        self._origin = self._followed = now

    def at(self, now: float) -> float:
        """Return the number of the frame that is expected at `now`, or a moment between two; at least 0."""
        return max(0.0, (now - self._origin) * FPS)

    def follow(self, number: int, now: float) -> None:
        """Take note that frame `number` came at `now`. Raise PeerError where it cannot be there by then."""
        away = number - self.at(now)
        if abs(away) > MOST_AWAY_FRAMES:
            raise PeerError(f"A keypoint packet is numbered {away / FPS:.0f} s away from the call's time.")
        most = DRIFT * max(0.0, now - self._followed)
        self._origin -= min(max(away / FPS, -most), most)
        self._followed = max(self._followed, now)
