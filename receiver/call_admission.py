"""Admission of incoming connections: reads a connection's first message and routes it accordingly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from receiver.pipeline import ReceiverCall
from shared.errors import PeerError
from shared.interfaces import Connection
from shared.protocol.liveness import SETUP_SECONDS, Phase
from shared.protocol.message_format import pack_message, parse_message
from shared.protocol.messages import Bye, Hello
from shared.runtime.logs import logger

_log = logger("admission")
_BUSY = "The receiver already has a call; wait until it has ended."


@dataclass(frozen=True)
class PendingCall:
    """A sender that wants a call of its own, and the first control message that it sent."""

    link: Connection
    hello: bytes


class CallAdmission:
    """Admits one call at a time.

    A link whose hello matches the call in progress carries that one from now on. Any other becomes the next
    `PendingCall`, and a call whose sender is silent ends for it. `say` gets the reason why a link ended
    before it said hello, `resumed` a link that the call in progress goes on over. A link may be silent for
    `patience` seconds.
    """

    def __init__(
        self,
        say: Callable[[str], None] = lambda _: None,
        resumed: Callable[[Connection], None] = lambda _: None,
        patience: float = SETUP_SECONDS,
    ) -> None:
        self._say, self._resumed, self._patience = say, resumed, patience
        self.call: ReceiverCall | None = None
        self._pending: asyncio.Queue[PendingCall | None] = asyncio.Queue()
        self._greetings: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether a further sender would have to wait."""
        lively = self.call is not None and self.call.phase is Phase.LIVELY
        return lively or bool(self._greetings) or self.has_pending

    @property
    def has_pending(self) -> bool:
        """Whether `next` would return at once."""
        return not self._pending.empty()

    async def next(self) -> PendingCall | None:
        """Return the next pending call; None once closed."""
        return await self._pending.get()

    def close(self) -> None:
        """Have `next` return None, and greet nobody any more."""
        for greeting in self._greetings:
            greeting.cancel()
        self._pending.put_nowait(None)

    def arrived(self, link: Connection) -> None:
        """Take in a link that has opened."""
        _log.debug("a connection has opened (%s)", link.path or "way unknown")
        greeting = asyncio.create_task(self._greet(link))
        self._greetings.add(greeting)
        greeting.add_done_callback(self._greetings.discard)

    async def _greet(self, link: Connection) -> None:
        kept = False
        try:
            said = await asyncio.wait_for(_first_control_message(link), self._patience)
            kept = said is not None and self._admit(link, said)
            if not kept:
                _log.debug("a connection was not taken: %s", link.reason or "it ended before it said hello")
                if link.reason:
                    self._say(f"refused a call: {link.reason}")
                await link.drained()
        except TimeoutError:
            _log.debug("a connection said no hello for %.0f seconds", self._patience)
        finally:
            if not kept:
                await link.close()

    def _admit(self, link: Connection, said: bytes) -> bool:
        """Say whether the link has found its place."""
        hello = _hello(said)
        if self.call is not None:
            if hello is not None and self.call.matches(hello, link):
                _log.debug("the call's own sender is back")
                self.call.resume(link)
                self._resumed(link)
                return True
            if self.call.phase is Phase.LIVELY:
                _log.debug("refused another sender: a call is on")
                link.send_ctl(pack_message(Bye(_BUSY, ok=False)))
                return False
            _log.debug("the call's sender is silent (%s); another takes its place", self.call.phase.value)
            self.call.give_way()
        # One that is no hello is refused by the session of a call, with a reason.
        self._pending.put_nowait(PendingCall(link, said))
        return True


async def _first_control_message(link: Connection) -> bytes | None:
    while (message := await link.recv()) is not None:
        if message[0] == "ctl":
            return message[1]
    return None


def _hello(data: bytes) -> Hello | None:
    try:
        message = parse_message(data)
    except PeerError:
        return None
    return message if isinstance(message, Hello) else None
