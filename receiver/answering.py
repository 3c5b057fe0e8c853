"""The connection that a receiver's call runs over: the sender makes the next one when it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shared.clock import Clock
from shared.interfaces import Connection
from shared.protocol.events import Event
from shared.protocol.receiver_session import ReceiverSession
from shared.protocol.reconnecting import ReconnectingCall
from shared.runtime.stats import Traffic


class AnsweringCall(ReconnectingCall):
    """Waits for `hold` seconds for the sender to come back, where that is over 0; see `ReconnectingCall`."""

    tick_seconds = 0.5
    gone = "The sender is gone."

    def __init__(
        self,
        *,
        connection: Connection,
        session: ReceiverSession,
        clock: Clock,
        on_event: Callable[[Event], None],
        traffic: Traffic,
        hold: float,
    ) -> None:
        super().__init__(
            connection=connection,
            session=session,
            receive={
                "kp": session.receive_kp,
                "ctl": session.receive_ctl,
                "voice": session.receive_voice,
            },
            clock=clock,
            on_event=on_event,
            traffic=traffic,
            resumes=hold > 0,
            give_up=hold,
        )
        self._receiver = session
        self._resumed = asyncio.Event()

    def resume(self, connection: Connection) -> Connection:
        """Go on over `connection`, from this very call's sender; return the one before, to be closed."""
        before = self._replace(connection)
        if self._receiver.uses_media:
            connection.use_media()
        self._receiver.rejoin(connection.binding)
        self._liveness.linked(self._clock.now())
        self._resumed.set()
        self.dispatch([])
        return before

    async def _reconnect(self) -> None:
        self._liveness.lost(self._clock.now())
        self._resumed.clear()
        await self._resumed.wait()

    def _gave_up(self) -> str:
        return f"The sender did not come back within {self._give_up:.0f} s."
