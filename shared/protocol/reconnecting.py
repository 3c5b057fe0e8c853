"""The connection that a call runs over, and the next one when it breaks.

How the next one comes about, `sender.reconnecting` and `receiver.answering` say.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

from shared.clock import Clock
from shared.interfaces import Channel, Connection
from shared.protocol.events import Agreed, Ended, Event, PeerReady
from shared.protocol.liveness import Liveness, Phase
from shared.protocol.message_format import is_report
from shared.protocol.session import Session
from shared.runtime.stats import Traffic

Receive = Callable[[bytes, float], list[Event]]


class ReconnectingCall(ABC):
    """Carries `session` over `connection` and, where it `resumes`, over those that follow it.

    `receive` takes in what comes over each channel; `on_event` learns of all that happens, in order;
    `traffic` counts. A call that has been set up and has had no connection for `give_up` seconds ends.
    `run` and `watch` run side by side. How another connection comes about, each side says in its own class.
    """

    tick_seconds: ClassVar[float]
    gone: ClassVar[str]
    """The reason of an end without a reason."""

    def __init__(
        self,
        *,
        connection: Connection,
        session: Session,
        receive: Mapping[Channel, Receive],
        clock: Clock,
        on_event: Callable[[Event], None],
        traffic: Traffic,
        resumes: bool,
        give_up: float,
    ) -> None:
        self.connection = connection
        self.ended = False
        self._session = session
        self._receive = receive
        self._clock = clock
        self._on_event = on_event
        self._traffic = traffic
        self._resumes = resumes
        self._give_up = give_up
        self._liveness = Liveness(clock.now(), give_up)

    @property
    def phase(self) -> Phase:
        """Whether the other side is there, as of now."""
        return self._liveness.tick(self._clock.now())

    @property
    def reconnects(self) -> int:
        """How often the call went on over a new connection."""
        return max(self._liveness.links - 1, 0)

    async def run(self, opening: bytes | None = None) -> None:
        """Hear the other side out, over one connection after the other, until the call ends.

        `opening` is a first control message that was taken from the connection before.
        """
        self.dispatch([])
        if opening is not None:
            self._heard("ctl", opening)
        while not self.ended:
            connection = self.connection
            while connection is self.connection and (message := await connection.recv()) is not None:
                if connection is self.connection:
                    self._heard(*message)
            if connection is not self.connection:
                continue
            if self._resumes and self._liveness.links and not self.ended:
                await self._reconnect()
            else:
                self.dispatch(self._session.lost(connection.reason or self.gone))

    async def watch(self) -> None:
        """Look after the connection a few times per second: silence, and what the session has to do."""
        while True:
            await self._clock.sleep_until(self._clock.now() + self.tick_seconds)
            phase = self.phase
            if self._resumes and phase is Phase.OVER:
                self.dispatch(self._session.lost(self._gave_up()))
            elif self._resumes and phase is Phase.AWAY:
                await self.connection.close()
            else:
                self._tick(self._clock.now())

    def dispatch(self, events: list[Event]) -> None:
        """Pass `events` of the session on, and send what it has to say."""
        for event in events:
            self._note(event)
            self._on_event(event)
        for message in self._session.outgoing():
            if not (is_report(message) and self.connection.send_report(message)):
                self.connection.send_ctl(message)

    @abstractmethod
    async def _reconnect(self) -> None:
        """Have another connection take the place of the one that is lost; or the call end."""

    @abstractmethod
    def _gave_up(self) -> str:
        """Return the reason of a call's end that has had no connection for too long."""

    def _tick(self, now: float) -> None:
        self.dispatch(self._session.tick(now))

    def _note(self, event: Event) -> None:
        if isinstance(event, Ended):
            self.ended = True
        elif isinstance(event, Agreed) and event.media:
            self.connection.use_media()
        elif isinstance(event, PeerReady):
            self._liveness.linked(self._clock.now())

    def _heard(self, channel: Channel, data: bytes) -> None:
        now = self._clock.now()
        self._liveness.heard(now)
        if channel in self._receive:
            self.dispatch(self._receive[channel](data, now))

    def _replace(self, connection: Connection) -> Connection:
        """Go on over `connection`; return the one before."""
        before, self.connection = self.connection, connection
        self._traffic.left(before)
        return before
