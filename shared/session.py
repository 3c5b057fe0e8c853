"""The call protocol without IO: bytes and `now` in, events and bytes out. One class for each side.

    sender                      receiver
    hello (terms)          ->   compares the terms; a mismatch is answered with bye
                           <-   hello (its terms, avatar)
    picture in 1 KiB pieces ->  assembles it            (left out where the receiver has an avatar)
                           <-   ready
    keypoint packets       ->   frames                  (both are STREAMING)
                           <-   reports
    bye                    <->  bye

A broken ctl message ends the call; a broken keypoint packet is counted and dropped, as a lost one would be.
"""

from __future__ import annotations

from shared import picture as pictures
from shared.codec import Codec, codec_by_name
from shared.config import FPS, MAX_PICTURE_BYTES, MAX_REASON, PICTURE_CHUNK, CallTerms
from shared.errors import PeerError
from shared.events import (
    Agreed,
    Ended,
    Event,
    FramesArrived,
    PeerReady,
    PeerReport,
    SourcePicture,
    State,
)
from shared.keypoints import Floats
from shared.limits import RateLimit
from shared.messages import Bye, Hello, Message, Ready, Report, SourceChunk, pack_message, parse_message
from shared.wire import MAX_PAYLOAD, KeypointPacket

__all__ = [
    "Agreed",
    "Ended",
    "Event",
    "FramesArrived",
    "PeerReady",
    "PeerReport",
    "ReceiverSession",
    "SenderSession",
    "SourcePicture",
    "State",
]

MAX_BAD_PACKETS = 200
MAX_JUMP_FRAMES = 10 * 60 * FPS
KP_PER_SECOND, KP_BURST = 120.0, 240.0
CTL_PER_SECOND, CTL_BURST = 20.0, 600.0
FLOOD_SECONDS = 5.0
SETUP_SECONDS = 15.0
PICTURE_SECONDS = 45.0


class _Session:
    """What both sides have in common: the outgoing queue, the state, and the end."""

    def __init__(self, terms: CallTerms) -> None:
        self.terms = terms
        self.codec: Codec = codec_by_name(terms.codec)
        self.state = State.START
        self._outgoing: list[bytes] = []
        self._ctl_limit = RateLimit(CTL_PER_SECOND, CTL_BURST)
        self._set_up_by: float | None = None

    def receive_ctl(self, data: bytes, now: float) -> list[Event]:
        """Take in one ctl message that arrived at `now` (monotonic seconds)."""
        if self.state is State.ENDED:
            return []
        if not self._ctl_limit.allows(now):
            return self._refuse("The other side sends too many control messages.")
        try:
            message = parse_message(data)
            if isinstance(message, Bye):
                return self._ended(message.reason, message.ok)
            return self._handle(message)
        except PeerError as error:
            return self._refuse(str(error))

    def tick(self, now: float) -> list[Event]:
        """Call a few times a second: ends a call that is not set up within 15 s of the first tick.

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

    def _handle(self, message: Message) -> list[Event]:
        """Act on a well-formed message; raise PeerError where it is out of turn. Each side has its table."""
        name = type(message).__name__
        raise PeerError(f"The other side sent a {name} message out of turn ({self.state.name}).")

    def _queue(self, message: Message) -> None:
        self._outgoing.append(pack_message(message))

    def _refuse(self, reason: str) -> list[Event]:
        return self.end(reason, ok=False)

    def _ended(self, reason: str, ok: bool) -> list[Event]:
        self.state = State.ENDED
        return [Ended(reason, ok)]


class SenderSession(_Session):
    """The sender's side. `picture` is the encoded source picture; None to send none."""

    def __init__(self, terms: CallTerms, picture: bytes | None) -> None:
        super().__init__(terms)
        if picture is not None and not 0 < len(picture) <= MAX_PICTURE_BYTES:
            raise ValueError(f"the source picture has {len(picture)} bytes, not 1 to {MAX_PICTURE_BYTES}")
        self._picture = picture
        self.packets = 0
        self.frames = 0
        self.payload_bytes = 0

    def start(self) -> None:
        """Queue the hello."""
        if self.state is not State.START:
            raise ValueError("the call has been started before")
        self._queue(Hello(self.terms))
        self.state = State.HELLO

    def send_frames(self, first: int, timestamp_ms: int, frames: Floats) -> bytes | None:
        """Return the packet of consecutive frames (T, 60), T <= `max_frames()`; None unless streaming."""
        if self.state is not State.STREAMING:
            return None
        payload = self.codec.encode(frames)
        packet = KeypointPacket(first, timestamp_ms, len(frames), payload).pack()
        self.packets += 1
        self.frames += len(frames)
        self.payload_bytes += len(payload)
        return packet

    def max_frames(self) -> int:
        """Say how many frames fit one packet."""
        return self.codec.max_frames(MAX_PAYLOAD)

    def _handle(self, message: Message) -> list[Event]:
        match self.state, message:
            case State.HELLO, Hello() as hello:
                return self._on_hello(hello)
            case State.PICTURE, Ready() as ready:
                return self._on_ready(ready)
            case State.STREAMING, Report() as report:
                return [PeerReport(report)]
            case _:
                return super()._handle(message)

    def _on_hello(self, message: Hello) -> list[Event]:
        difference = message.terms.difference(self.terms)
        if difference:
            return self._refuse(difference)
        if message.avatar:
            self.state = State.STREAMING
            return [Agreed(self.terms), PeerReady()]
        if self._picture is None:
            return self._refuse("The sender gives no picture; start the receiver with --avatar IMAGE.")
        for offset in range(0, len(self._picture), PICTURE_CHUNK):
            piece = self._picture[offset : offset + PICTURE_CHUNK]
            self._queue(SourceChunk(0, len(self._picture), offset, piece))
        self.state = State.PICTURE
        return [Agreed(self.terms)]

    def _on_ready(self, message: Ready) -> list[Event]:
        if message.picture != 0:
            raise PeerError(f"The receiver is ready for picture {message.picture}, which was never sent.")
        self.state = State.STREAMING
        return [PeerReady()]


class ReceiverSession(_Session):
    """The receiver's side. With `avatar`, it has a picture of its own and asks for none."""

    def __init__(self, terms: CallTerms, avatar: bool = False) -> None:
        super().__init__(terms)
        self._avatar = avatar
        self._chunks: list[bytes] = []
        self._received = 0
        self._total: int | None = None
        self._limit = RateLimit(KP_PER_SECOND, KP_BURST)
        self._highest: int | None = None
        self.packets = 0
        self.frames = 0
        self.payload_bytes = 0
        self.bad_packets = 0
        self.early_packets = 0
        self.flood_packets = 0

    def receive_kp(self, data: bytes, now: float) -> list[Event]:
        """Take in a kp message that arrived at `now` (monotonic s); a bad one is counted and dropped."""
        if self.state is State.ENDED:
            return []
        if not self._limit.allows(now):
            return self._over_limit(now)
        if self.state is not State.STREAMING:
            self.early_packets += 1
            return []
        try:
            return [self._frames(data)]
        except PeerError:
            return self._bad_packet()

    def _over_limit(self, now: float) -> list[Event]:
        self.flood_packets += 1
        if self._limit.seconds_over(now) <= FLOOD_SECONDS:
            return []
        return self._refuse("The sender floods the call with keypoint packets.")

    def _bad_packet(self) -> list[Event]:
        self.bad_packets += 1
        if self.bad_packets <= MAX_BAD_PACKETS:
            return []
        return self._refuse(f"The sender sent over {MAX_BAD_PACKETS} broken keypoint packets.")

    def report(self, report: Report) -> None:
        """Queue a report to the sender. Ignored unless streaming."""
        if self.state is State.STREAMING:
            self._queue(report)

    def _frames(self, data: bytes) -> FramesArrived:
        packet = KeypointPacket.parse(data)
        if self._highest is not None and packet.first > self._highest + MAX_JUMP_FRAMES:
            raise PeerError(f"A keypoint packet jumps to frame {packet.first}.")
        frames = self.codec.decode(packet.payload, packet.count)
        self._highest = max(self._highest or 0, packet.first + packet.count - 1)
        self.packets += 1
        self.frames += packet.count
        self.payload_bytes += len(packet.payload)
        return FramesArrived(packet.first, packet.timestamp_ms, frames)

    def _handle(self, message: Message) -> list[Event]:
        match self.state, message:
            case State.START, Hello() as hello:
                return self._on_hello(hello)
            case State.PICTURE, SourceChunk() as chunk:
                return self._on_chunk(chunk)
            case _:
                return super()._handle(message)

    def _on_hello(self, message: Hello) -> list[Event]:
        difference = self.terms.difference(message.terms)
        if difference:
            return self._refuse(difference)
        self._queue(Hello(self.terms, self._avatar))
        if self._avatar:
            self.state = State.STREAMING
            return [Agreed(message.terms), PeerReady()]
        self.state = State.PICTURE
        return [Agreed(message.terms)]

    def _on_chunk(self, message: SourceChunk) -> list[Event]:
        if self._total is None:
            self._total = message.total
        if message.picture != 0 or message.total != self._total or message.offset != self._received:
            raise PeerError("The pieces of the source picture do not follow each other.")
        self._chunks.append(message.data)
        self._received += len(message.data)
        if self._received < self._total:
            return []
        picture = pictures.decode(b"".join(self._chunks))
        self._chunks.clear()
        self._queue(Ready(message.picture))
        self.state = State.STREAMING
        return [SourcePicture(picture), PeerReady()]
