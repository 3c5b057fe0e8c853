"""The connection that a sender's call runs over: it calls again when that breaks."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import random
from typing import TypeVar

from shared.clock import Clock
from shared.errors import BusyError, KeycastError, WrongTokenError
from shared.interfaces import Connection
from shared.protocol.events import Agreed, Event, PeerReady, PeerReport
from shared.protocol.liveness import PICTURES_SECONDS, STALL_SECONDS, Backoff, Phase
from shared.protocol.reconnecting import ReconnectingCall
from shared.protocol.sender_session import SenderSession
from shared.runtime.logs import logger
from shared.runtime.stats import Traffic

_log = logger("call")
STILL_SECONDS = 1.2
"""After so long without anything known to have arrived, a sign of life goes the reliable way.

With its acknowledgement that is well within the two seconds after which a call counts as stalled."""
_MAX_REFUSALS = 3
_BUSY_SECONDS = 0.5
Result = TypeVar("Result")


@dataclass(frozen=True)
class Reconnecting:
    """`connect` sets a new connection up, or raises KeycastError; tried for `give_up` seconds at most.

    `notify` is given a sentence when the connection breaks, and when the call goes on.
    """

    connect: Callable[[], Awaitable[Connection]]
    give_up: float = math.inf
    notify: Callable[[str], None] = lambda _: None
    chance: Callable[[], float] = random


async def first_link(connect: Callable[[], Awaitable[Result]], clock: Clock) -> Result:
    """Return what `connect` does; a receiver that is busy is asked again for three seconds.

    So long it takes for a receiver to learn that a sender which was killed is gone.
    """
    until = clock.now() + STALL_SECONDS + 1
    while True:
        try:
            return await connect()
        except BusyError:
            if clock.now() >= until:
                raise
            _log.debug("the receiver is busy; asking again")
        await clock.sleep_until(clock.now() + _BUSY_SECONDS)


class ResumingCall(ReconnectingCall):
    """Calls the receiver again as `again` says, where that is given; see `ReconnectingCall`."""

    # Also the grain of the pace that source pictures keep.
    tick_seconds = 0.1
    gone = "The receiver is gone."

    def __init__(
        self,
        *,
        connection: Connection,
        session: SenderSession,
        clock: Clock,
        on_event: Callable[[Event], None],
        traffic: Traffic,
        again: Reconnecting | None = None,
    ) -> None:
        super().__init__(
            connection=connection,
            session=session,
            receive={"ctl": session.receive_ctl},
            clock=clock,
            on_event=on_event,
            traffic=traffic,
            resumes=again is not None,
            give_up=again.give_up if again is not None else math.inf,
        )
        self._sender = session
        self._again = again
        self._backoff = Backoff(again.chance if again is not None else random)
        self._ready = asyncio.Event()
        self._refusals = 0
        self._confirmed, self._acknowledged, self._reported = 0.0, 0, 0

    @property
    def streaming(self) -> bool:
        """Whether keypoints may be sent now."""
        return self._ready.is_set()

    @property
    def state(self) -> str:
        """Where the call stands, of `sender.live.STATES`."""
        phase = self._liveness.phase
        if self.streaming:
            return "live" if phase is Phase.LIVELY else "stalled"
        return "reconnecting" if self._liveness.links else "connecting"

    async def until_streaming(self) -> None:
        """Return once keypoints may be sent."""
        await self._ready.wait()

    def _tick(self, now: float) -> None:
        if self.connection.acknowledgements != self._acknowledged:
            self._acknowledged, self._confirmed = self.connection.acknowledgements, now
            self._liveness.heard(now)
        if self.streaming and now - self._confirmed >= STILL_SECONDS:
            self._confirmed = now
            self._sender.still()
        super()._tick(now)

    def _note(self, event: Event) -> None:
        super()._note(event)
        now = self._clock.now()
        if isinstance(event, Agreed):
            self._liveness.tries(now, PICTURES_SECONDS)
        elif isinstance(event, PeerReady):
            self._backoff.reset()
            self._confirmed, self._refusals = now, 0
            self._ready.set()
            if self.reconnects and self._again is not None:
                self._again.notify("The call goes on.")
        elif isinstance(event, PeerReport):
            _log.debug("%s", event.report)
            if event.report.packets > self._reported:
                self._confirmed = now
            self._reported = event.report.packets

    async def _reconnect(self) -> None:
        """Make connections until one opens."""
        assert self._again is not None  # or it would not resume
        if self.streaming:
            self._again.notify("The connection is lost; calling again.")
        self._ready.clear()
        self._liveness.lost(self._clock.now())
        while not self.ended:
            wait = self._backoff.next()
            _log.debug("calling again in %.1f s", wait)
            await self._clock.sleep_until(self._clock.now() + wait)
            self._liveness.tries(self._clock.now())
            try:
                connection = await self._again.connect()
            except KeycastError as error:
                self._failed(error)
                continue
            self._resume(connection)
            return

    def _failed(self, error: KeycastError) -> None:
        _log.debug("calling again failed: %s", error)
        self._liveness.failed()
        # Once may be a receiver that is just starting again, and has not said its new token yet.
        self._refusals += isinstance(error, WrongTokenError)
        if self._refusals >= _MAX_REFUSALS:
            self.dispatch(self._session.lost(str(error)))

    def _resume(self, connection: Connection) -> None:
        self._replace(connection)
        self._acknowledged = connection.acknowledgements
        self._sender.restart(connection.binding)
        self._liveness.tries(self._clock.now())
        self.dispatch([])

    def _gave_up(self) -> str:
        seconds = self._give_up
        return f"The receiver did not come back within {seconds:.0f} seconds; start the call again."
