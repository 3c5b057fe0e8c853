"""The connection that a sender's call runs over, and the next one when it breaks."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import random
from typing import TypeVar

from shared.clock import Clock
from shared.errors import BusyError, KeycastError, WrongTokenError
from shared.events import Agreed, Ended, Event, PeerReady, PeerReport
from shared.interfaces import Connection
from shared.liveness import PICTURES_SECONDS, STALL_SECONDS, Backoff, Liveness, Phase
from shared.logs import logger
from shared.sender_session import SenderSession
from shared.stats import Traffic

_log = logger("call")
# Also the grain of the pace that source pictures keep.
_TICK_SECONDS = 0.1
STILL_SECONDS = 1.5
"""Where no keypoints are known to have arrived for so long, a sign of life goes the reliable way."""
_MOST_REFUSALS = 3
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


class Line:
    """Carries `session` over `connection`, and where `again` is given over those that follow.

    `on_event` learns of all that happens, in order; `traffic` counts. `run` and `watch` run side by side.
    """

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
        self.connection = connection
        self._session = session
        self._clock = clock
        self._on_event = on_event
        self._traffic = traffic
        self._again = again
        self._backoff = Backoff(again.chance if again is not None else random)
        self._liveness = Liveness(clock.now(), again.give_up if again is not None else math.inf)
        self._ready = asyncio.Event()
        self._ended = False
        self._refusals = 0
        self._confirmed, self._packets = 0.0, 0

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

    @property
    def reconnects(self) -> int:
        """How often the call went on over a new connection."""
        return max(self._liveness.links - 1, 0)

    async def until_streaming(self) -> None:
        """Return once keypoints may be sent."""
        await self._ready.wait()

    async def run(self) -> None:
        """Say hello and hear the receiver out, over one connection after the other, until the call ends."""
        self.tell([])
        while not self._ended:
            await self._hear()
            if self._again is None or not self._liveness.links:
                self.tell(self._session.lost(self.connection.reason or "The receiver is gone."))
            elif not self._ended:
                await self._call_again(self._again)

    async def watch(self) -> None:
        """Look after the connection: silence, the pace of pictures, signs of life."""
        while True:
            await self._clock.sleep_until(self._clock.now() + _TICK_SECONDS)
            now = self._clock.now()
            phase = self._liveness.tick(now)
            if self._again is not None and phase is Phase.OVER:
                self.tell(self._session.lost(_gave_up(self._again.give_up)))
            elif self._again is not None and phase is Phase.AWAY:
                await self.connection.close()
            else:
                self._live_on(now)
                self.tell(self._session.tick(now))

    def tell(self, events: list[Event]) -> None:
        """Pass `events` of the session on, and send what it has to say."""
        for event in events:
            self._note(event)
            self._on_event(event)
        for message in self._session.outgoing():
            self.connection.send_ctl(message)

    def _note(self, event: Event) -> None:
        now = self._clock.now()
        if isinstance(event, Ended):
            self._ended = True
        elif isinstance(event, Agreed):
            self._liveness.tries(now, PICTURES_SECONDS)
        elif isinstance(event, PeerReady):
            self._backoff.reset()
            self._liveness.linked(now)
            self._confirmed, self._refusals = now, 0
            self._ready.set()
            if self.reconnects and self._again is not None:
                self._again.notify("The call goes on.")
        elif isinstance(event, PeerReport):
            _log.debug("%s", event.report)
            if event.report.packets != self._packets:
                self._packets, self._confirmed = event.report.packets, now

    def _live_on(self, now: float) -> None:
        if self.streaming and now - self._confirmed >= STILL_SECONDS:
            self._confirmed = now
            self._session.still()

    async def _hear(self) -> None:
        while (message := await self.connection.recv()) is not None:
            channel, data = message
            now = self._clock.now()
            self._liveness.heard(now)
            if channel == "ctl":
                self.tell(self._session.receive_ctl(data, now))

    async def _call_again(self, again: Reconnecting) -> None:
        """Make connections until one opens."""
        if self.streaming:
            again.notify("The connection is lost; calling again.")
        self._ready.clear()
        self._liveness.lost(self._clock.now())
        while not self._ended:
            wait = self._backoff.next()
            _log.debug("calling again in %.1f s", wait)
            await self._clock.sleep_until(self._clock.now() + wait)
            self._liveness.tries(self._clock.now())
            try:
                connection = await again.connect()
            except KeycastError as error:
                self._failed(error)
                continue
            self._take(connection)
            return

    def _failed(self, error: KeycastError) -> None:
        _log.debug("calling again came to nothing: %s", error)
        self._liveness.failed()
        # Once may be a receiver that is just starting again, and has not said its new token yet.
        self._refusals += isinstance(error, WrongTokenError)
        if self._refusals >= _MOST_REFUSALS:
            self.tell(self._session.lost(str(error)))

    def _take(self, connection: Connection) -> None:
        self._traffic.left(self.connection)
        self.connection = connection
        self._session.restart(connection.binding)
        self._liveness.tries(self._clock.now())
        self.tell([])


def _gave_up(seconds: float) -> str:
    return f"The receiver did not come back within {seconds:.0f} seconds; start the call again."
