"""Liveness of the other side: what silence means, and when to try again. `now` is given, no clock is read.

    phase       heard     silent 2 s   connection gone   linked    tries      fails     given up
    LIVELY                STALLED      AWAY
    STALLED     LIVELY                 AWAY              LIVELY
    AWAY                                                 LIVELY    TRYING               OVER
    TRYING                             AWAY              LIVELY               AWAY      OVER

A connection that is silent for 5.5 s is given up; one that ends without a bye is gone at once. aiortc by
itself would notice either only after 31 s.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum, auto

from shared.runtime.logs import logger

_log = logger("call")
STALL_SECONDS = 2.0
LOST_SECONDS = 5.5
SETUP_SECONDS = 8.0
"""Longest time a new connection may take until the other side's hello."""
PICTURES_SECONDS = 40.0
"""Longest time the pictures may take after that, on a thin path."""
FIRST_DELAY, GROWTH, LONGEST_DELAY = 0.4, 1.5, 10.0


class Phase(Enum):
    """Phase of a call that has been set up. The value is what users see."""

    LIVELY = "in a call"
    STALLED = "stalled"
    AWAY = "connection lost"
    TRYING = "connecting again"
    OVER = "given up"


class LivenessEvent(Enum):
    """Event that moves a call from one phase to the next."""

    HEARD = auto()
    SILENT = auto()
    GONE = auto()
    LINKED = auto()
    TRIES = auto()
    FAILS = auto()
    GIVEN_UP = auto()


# What is not listed changes nothing.
_NEXT = {
    (Phase.LIVELY, LivenessEvent.SILENT): Phase.STALLED,
    (Phase.LIVELY, LivenessEvent.GONE): Phase.AWAY,
    (Phase.STALLED, LivenessEvent.HEARD): Phase.LIVELY,
    (Phase.STALLED, LivenessEvent.LINKED): Phase.LIVELY,
    (Phase.STALLED, LivenessEvent.GONE): Phase.AWAY,
    (Phase.AWAY, LivenessEvent.LINKED): Phase.LIVELY,
    (Phase.AWAY, LivenessEvent.TRIES): Phase.TRYING,
    (Phase.AWAY, LivenessEvent.GIVEN_UP): Phase.OVER,
    (Phase.TRYING, LivenessEvent.LINKED): Phase.LIVELY,
    (Phase.TRYING, LivenessEvent.FAILS): Phase.AWAY,
    (Phase.TRYING, LivenessEvent.GONE): Phase.AWAY,
    (Phase.TRYING, LivenessEvent.GIVEN_UP): Phase.OVER,
}


class Liveness:
    """The phase of one side's call. Times are monotonic seconds.

    Without a connection for `give_up` seconds, the call is OVER. Until `linked` is called for the first time
    the call is still being set up: silence then only makes it STALLED.
    """

    def __init__(self, now: float, give_up: float = math.inf) -> None:
        self.phase = Phase.LIVELY
        self._give_up = give_up
        self._heard = now
        self._gone = math.inf
        self._limit = math.inf
        self._set_up = False
        self.links = 0

    def heard(self, now: float) -> None:
        """Anything came from the other side over the connection in use."""
        self._heard = now
        self._step(LivenessEvent.HEARD)

    def linked(self, now: float) -> None:
        """A connection carries the call now."""
        self._heard, self._gone, self._set_up = now, math.inf, True
        self.links += 1
        self._step(LivenessEvent.LINKED)

    def lost(self, now: float) -> None:
        """The connection in use has ended, or was given up."""
        # The hours before a failed attempt count, too.
        self._gone = min(self._gone, now)
        self._step(LivenessEvent.GONE)

    def tries(self, now: float, seconds: float = SETUP_SECONDS) -> None:
        """A new connection is being made, or has got further; over `seconds` more, it has failed."""
        self._limit = now + seconds
        self._step(LivenessEvent.TRIES)

    def failed(self) -> None:
        """The attempt has failed."""
        self._step(LivenessEvent.FAILS)

    def tick(self, now: float) -> Phase:
        """Return the phase at `now`; call it a few times per second."""
        silence = now - self._heard
        if silence >= STALL_SECONDS:
            self._step(LivenessEvent.SILENT)
        if self._set_up and self.phase is Phase.STALLED and silence >= LOST_SECONDS:
            self.lost(now)
        if self.phase is Phase.TRYING and now >= self._limit:
            self._step(LivenessEvent.FAILS)
        if now - self._gone >= self._give_up:
            self._step(LivenessEvent.GIVEN_UP)
        return self.phase

    def _step(self, event: LivenessEvent) -> None:
        phase = _NEXT.get((self.phase, event), self.phase)
        if phase is not self.phase:
            _log.debug("%s -> %s (%s)", self.phase.name, phase.name, event.name)
        self.phase = phase


class Backoff:
    """Seconds to wait before each attempt: growing, and spread so that many callers do not come as one.

    `chance` gives numbers in [0, 1).
    """

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._most = FIRST_DELAY

    def next(self) -> float:
        """Return the wait before the next attempt, half to all of a span that grows from 0.4 to 10 s."""
        most = self._most
        self._most = min(most * GROWTH, LONGEST_DELAY)
        return most * (1 + self._chance()) / 2

    def reset(self) -> None:
        """Begin again: an attempt has succeeded."""
        self._most = FIRST_DELAY
