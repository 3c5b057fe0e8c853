"""The call protocol without IO: bytes and `now` in, events and bytes out. The common base of both sides.

`shared.protocol.sender_session` and `shared.protocol.receiver_session` are the two sides:

    sender                      receiver
    hello (terms, voice)   ->   compares the terms; a mismatch is answered with bye
                           <-   hello (its terms, avatar, forecaster, voice: whether it takes the sound)
    picture in 1 KiB pieces ->  assembles it            (left out where the receiver has an avatar)
                           <-   ready                   (once it is decoded, which is not the session's work)
    start                  ->   knows when frame 0 was  (both are STREAMING)
    keypoint packets       ->   frames
    sound packets          ->   60 ms of sound each     (where both hellos say voice)
                           <-   reports
    further pictures       ->   assembles them          (paced, see `shared.protocol.picture_transfer`)
                           <-   ready, or want: again
    still                  ->   (the sender has nothing else to say)
    status                 ->   the sender is muted or on hold  (where both hellos say status)
    bye                    <->  bye

Keypoint packets and reports travel as media where both hellos say media (see `shared.transport.media`); then
reports come at least once a second, for nothing else tells the sender that its packets arrive.

A sender that has lost the connection says hello over a new one, with a proof that it knows the secret of the
receiver's hello (see `shared.protocol.resumption`). A receiver that still holds the call says hello with a
proof too, and streaming goes on as if nothing had been; any other answers as to a new call: it gets the
pictures again.

A broken ctl message ends the call; a broken keypoint or sound packet is counted and dropped, as a lost one
would be.
"""

from __future__ import annotations

from shared.constants import MAX_REASON, CallTerms
from shared.errors import PeerError
from shared.protocol.events import Ended, Event, State
from shared.protocol.limits import RateLimit
from shared.protocol.message_format import pack_message, parse_message
from shared.protocol.messages import Bye, Message, SourceChunk
from shared.protocol.reports import Brief, Report
from shared.protocol.tally import Tally
from shared.runtime.logs import logger

log = logger("session")
CTL_PER_SECOND, CTL_BURST = 20.0, 600.0
SETUP_SECONDS = 15.0
PICTURE_SECONDS = 45.0


class Session:
    """Common base of both sides: the outgoing queue, the state, and the end."""

    side = ""

    def __init__(self, terms: CallTerms) -> None:
        self.terms = terms
        self._state = State.START
        self._outgoing: list[bytes] = []
        self._ctl_limit = RateLimit(CTL_PER_SECOND, CTL_BURST)
        self._set_up_by: float | None = None
        self._short = False
        """Whether the other side reads the short forms of messages."""
        self.tally = Tally(picture_size=terms.size)
        """All that this side of the call counts."""

    @property
    def state(self) -> State:
        """Where the call stands."""
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        if state is not self._state:
            log.debug("%s: %s -> %s", self.side, self._state.name, state.name)
        self._state = state

    def receive_ctl(self, data: bytes, now: float) -> list[Event]:
        """Take in one ctl message that arrived at `now` (monotonic seconds)."""
        if self.state is State.ENDED:
            return []
        if not self._ctl_limit.allows(now):
            return self._refuse("The other side sends too many control messages.")
        try:
            message = parse_message(data)
            self.tally.heard[_kind(message)] += len(data)
            if isinstance(message, Bye):
                log.debug("%s: the other side says bye", self.side)
                return self._ended(message.reason, message.ok)
            return self._handle(message, now)
        except PeerError as error:
            return self._refuse(str(error))

    def tick(self, now: float) -> list[Event]:
        """Call a few times per second: ends a call that is not set up within 15 s of the first tick.

        Where a picture is on its way by then, it has another 45 s.
        """
        if self.state in (State.STREAMING, State.ENDED):
            return []
        if self._set_up_by is None:
            self._set_up_by = now + SETUP_SECONDS
        # A picture takes its time on a thin path.
        more = PICTURE_SECONDS if self.state is State.PICTURE else 0.0
        if now < self._set_up_by + more:
            return []
        return self._refuse(f"The call was not set up within {SETUP_SECONDS + more:.0f} seconds; try again.")

    def end(self, reason: str, ok: bool = True) -> list[Event]:
        """End the call from this side: queues a bye. `reason` is cut at 200 characters."""
        if self.state is State.ENDED:
            return []
        self._queue(Bye(reason[:MAX_REASON], ok))
        return self._ended(reason, ok)

    def lost(self, reason: str = "The connection to the other side was lost.") -> list[Event]:
        """Say that the connection is gone; without a bye before, that is not a normal end."""
        return [] if self.state is State.ENDED else self._ended(reason, ok=False)

    def outgoing(self) -> list[bytes]:
        """Return the ctl messages to send now, in order, and forget them."""
        queued, self._outgoing = self._outgoing, []
        return queued

    def _handle(self, message: Message, now: float) -> list[Event]:  # noqa: ARG002 - the sides' tables use it
        """Act on a well-formed message; raise PeerError where it is out of turn. Each side has its table."""
        name = type(message).__name__
        raise PeerError(f"The other side sent a {name} message out of turn ({self.state.name}).")

    def _queue(self, message: Message) -> None:
        data = pack_message(message, short=self._short)
        self.tally.said[_kind(message)] += len(data)
        self._outgoing.append(data)

    def _refuse(self, reason: str) -> list[Event]:
        return self.end(reason, ok=False)

    def _ended(self, reason: str, ok: bool) -> list[Event]:
        log.debug("%s: ended %s: %s", self.side, "in order" if ok else "with an error", reason)
        self.state = State.ENDED
        return [Ended(reason, ok)]


def _kind(message: Message) -> str:
    """Return what the bytes of `message` are for, of `shared.interfaces.CAUSES`."""
    if isinstance(message, SourceChunk):
        return "pictures"
    return "reports" if isinstance(message, (Report, Brief)) else "control"
