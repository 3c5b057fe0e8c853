"""The call protocol without IO: bytes and `now` in, events and bytes out. One class for each side.

    sender                      receiver
    hello (terms)          ->   compares the terms; a mismatch is answered with bye
                           <-   hello (its terms, avatar, forecaster)
    picture in 1 KiB pieces ->  assembles it            (left out where the receiver has an avatar)
                           <-   ready
    start                  ->   knows when frame 0 was  (both are STREAMING)
    keypoint packets       ->   frames
                           <-   reports
    further pictures       ->   assembles them          (paced, see `shared.feed`)
                           <-   ready, or want: again
    still                  ->   (the sender has nothing else to say)
    bye                    <->  bye

A sender that has lost the connection says hello over a new one, with the secret of the receiver's hello. A
receiver that still holds the call says hello with the same secret, and streaming goes on as if nothing had
been; any other answers as to a new call: it gets the pictures again.

A broken ctl message ends the call; a broken keypoint packet is counted and dropped, as a lost one would be.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import replace

from shared import picture as pictures
from shared.clock import WALL_MODULUS
from shared.codec import Block, Codec, filled_copies
from shared.config import FPS, MAX_PICTURE_BYTES, MAX_REASON, CallTerms
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
from shared.feed import PictureAssembler, PictureFeed
from shared.keypoints import Floats
from shared.limits import RateLimit
from shared.messages import (
    Bye,
    Hello,
    Message,
    Ready,
    Report,
    SourceChunk,
    Start,
    Still,
    Want,
    pack_message,
    parse_message,
)
from shared.wire import HEADER_BYTES, KeypointPacket

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
MAX_BAD_PICTURES = 8
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
            return self._handle(message, now)
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

    def _handle(self, message: Message, now: float) -> list[Event]:  # noqa: ARG002 - the sides' tables use it
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
    """The sender's side. `codec` is the one `terms` name; `picture` the encoded source, None to send none."""

    def __init__(self, terms: CallTerms, codec: Codec, picture: bytes | None) -> None:
        super().__init__(terms)
        if (codec.name, codec.tables) != (terms.codec, terms.tables):
            raise ValueError(f"the codec {codec.name!r} is not the one of the terms, {terms.codec!r}")
        self._codec = codec
        if picture is not None and not 0 < len(picture) <= MAX_PICTURE_BYTES:
            raise ValueError(f"the source picture has {len(picture)} bytes, not 1 to {MAX_PICTURE_BYTES}")
        self._picture = picture
        self.pictures = PictureFeed()
        self._takes_pictures = False
        self._secret = self._offered = b""
        self.packets = 0
        self.frames = 0
        self.payload_bytes = 0

    def start(self) -> None:
        """Queue the hello."""
        if self.state is not State.START:
            raise ValueError("the call has been started before")
        self._queue(Hello(self.terms))
        self.state = State.HELLO

    def restart(self) -> None:
        """Queue the hello for a new connection; what was left to say over the one before is forgotten."""
        if self.state is State.ENDED:
            raise ValueError("the call has ended")
        self._outgoing.clear()
        self._set_up_by = None
        self._queue(Hello(self.terms, secret=self._secret))
        self.state = State.HELLO

    def still(self) -> None:
        """Queue a sign of life. Ignored unless streaming."""
        if self.state is State.STREAMING:
            self._queue(Still())

    def begin(self, wall_ms: int) -> None:
        """Tell the receiver that frame 0 stands at `wall_ms`. Ignored unless streaming."""
        if self.state is State.STREAMING:
            self._queue(Start(wall_ms))

    def packet(self, first: int, late_ms: int, block: Block) -> bytes:
        """Return the packet of a block whose frames are numbered from `first`; see `wire.KeypointPacket`.

        Raise ValueError where the block cannot be coded or does not fit a packet.
        """
        payload = self._codec.encode(block)
        return KeypointPacket(first, late_ms, len(block.frames), payload).pack()

    def as_received(self, packet: bytes, frames: int) -> Floats:
        """Return what the receiver reads in a packet of ours: its frames (T, 60)."""
        return self._codec.decode(packet[HEADER_BYTES:], frames).frames

    def sent(self, packet: bytes, frames: int) -> None:
        """Count a packet of `frames` frames that has left."""
        self.packets += 1
        self.frames += frames
        self.payload_bytes += len(packet) - HEADER_BYTES

    @property
    def takes_pictures(self) -> bool:
        """Whether the receiver has use for a further picture now."""
        return self._takes_pictures and self.state is State.STREAMING and self.pictures.idle

    def send_picture(self, slot: int, picture: bytes) -> bool:
        """Begin to send `picture` into `slot`, at `tick`'s pace; False unless `takes_pictures`."""
        if not self.takes_pictures:
            return False
        self.pictures.begin(slot, picture)
        return True

    def tick(self, now: float) -> list[Event]:
        """Also queues the next piece of a further picture, when it is time for one."""
        events = super().tick(now)
        if self.state is State.STREAMING and (chunk := self.pictures.next(now)) is not None:
            self._queue(chunk)
        return events

    def _handle(self, message: Message, now: float) -> list[Event]:
        match self.state, message:
            case State.HELLO, Hello() as hello:
                return self._on_hello(hello)
            case State.PICTURE, Ready() as ready:
                return self._on_ready(ready)
            case State.STREAMING, Report() as report:
                return [PeerReport(report)]
            case State.STREAMING, Ready() as ready:
                self.pictures.confirm(ready.picture)
                return []
            case State.STREAMING, Want() as want:
                self.pictures.again(want.slot)
                return []
            case _:
                return super()._handle(message, now)

    def _on_hello(self, message: Hello) -> list[Event]:
        difference = message.terms.difference(self.terms)
        if difference:
            return self._refuse(difference)
        agreed = Agreed(self.terms, message.forecaster)
        if self._secret and hmac.compare_digest(self._secret, message.secret):
            self.pictures.restart()
            self.state = State.STREAMING
            return [agreed, PeerReady(resumed=True)]
        self._offered = message.secret
        self._takes_pictures = not message.avatar
        if message.avatar:
            return [agreed, self._ready()]
        if self._picture is None:
            return self._refuse(
                "The sender is anonymous and gives no picture; start the receiver with --avatar IMAGE."
            )
        self.pictures.give(self._picture)
        for chunk in self.pictures.at_once():
            self._queue(chunk)
        self.state = State.PICTURE
        return [agreed]

    def _on_ready(self, message: Ready) -> list[Event]:
        self.pictures.confirm(message.picture)
        return [self._ready()]

    def _ready(self) -> PeerReady:
        self._secret = self._offered
        self.state = State.STREAMING
        return PeerReady()


class ReceiverSession(_Session):
    """The receiver's side. With `avatar`, it has a picture of its own and asks for none.

    `codecs` are those it knows by name: which of them a call uses, the sender says. `forecaster` is told to
    the sender, and so is `secret` (16 random bytes), by which it may take up this call again.
    """

    def __init__(
        self,
        terms: CallTerms,
        codecs: Mapping[str, Codec],
        avatar: bool = False,
        forecaster: str = "",
        secret: bytes = b"",
    ) -> None:
        super().__init__(terms)
        self._codecs = codecs
        self._codec: Codec | None = None
        self._avatar = avatar
        self._forecaster = forecaster
        self._secret = secret
        self._agreed: CallTerms | None = None
        self._awaits_start = True
        self._started_ms: int | None = None
        self._pictures = PictureAssembler()
        self._limit = RateLimit(KP_PER_SECOND, KP_BURST)
        self._highest: int | None = None
        self.packets = 0
        self.frames = 0
        self.payload_bytes = 0
        self.bad_packets = 0
        self.bad_pictures = 0
        self.early_packets = 0
        self.flood_packets = 0

    @property
    def picture_bytes(self) -> int:
        """Bytes of source pictures that have come."""
        return self._pictures.received_bytes

    def matches(self, hello: Hello) -> bool:
        """Say whether `hello`, from a new connection, comes from this very call's sender."""
        known = bool(self._secret) and hmac.compare_digest(self._secret, hello.secret)
        return known and self.state is State.STREAMING and hello.terms == self._agreed

    def rejoin(self) -> None:
        """Go on over a new connection, whose hello `matches`: queues the answer to it."""
        self._outgoing.clear()
        self._pictures.restart()
        self._awaits_start = True
        self._queue(Hello(self.terms, self._avatar, self._forecaster, self._secret))

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

    def want_again(self, slot: int) -> None:
        """Ask for the picture of `slot` (0 to 7) again. Ignored before streaming and with an avatar."""
        if self.state is State.STREAMING and not self._avatar:
            self._queue(Want(slot))

    def _frames(self, data: bytes) -> FramesArrived:
        assert self._codec is not None  # streaming begins after the hello
        packet = KeypointPacket.parse(data, self._highest or 0)
        if self._highest is not None and packet.first > self._highest + MAX_JUMP_FRAMES:
            raise PeerError(f"A keypoint packet jumps to frame {packet.first}.")
        block = self._codec.decode(packet.payload, packet.count)
        self._highest = max(self._highest or 0, packet.first + packet.count - 1)
        self.packets += 1
        self.frames += packet.count
        self.payload_bytes += len(packet.payload)
        captured = round(packet.first * 1000 / FPS) + packet.late_ms
        timestamp = None if self._started_ms is None else (self._started_ms + captured) % WALL_MODULUS
        copies = filled_copies(packet.first, block.copies)
        return FramesArrived(packet.first, captured, timestamp, block.frames, copies)

    def _handle(self, message: Message, now: float) -> list[Event]:
        match self.state, message:
            case State.START, Hello() as hello:
                return self._on_hello(hello)
            case State.PICTURE, SourceChunk() as chunk:
                return self._on_chunk(chunk, now)
            case State.STREAMING, Start() as start if self._awaits_start:
                self._started_ms, self._awaits_start = start.wall_ms, False
                return []
            case State.STREAMING, Still():
                return []
            case State.STREAMING, SourceChunk() as chunk if not self._avatar:
                return self._on_further(chunk, now)
            case _:
                return super()._handle(message, now)

    def _on_hello(self, message: Hello) -> list[Event]:
        self._codec = self._codecs.get(message.terms.codec)
        if self._codec is None:
            known = ", ".join(sorted(self._codecs))
            return self._refuse(
                f"The receiver does not know the sender's codec {message.terms.codec[:16]!r}, only: {known}."
            )
        self.terms = replace(self.terms, codec=self._codec.name, tables=self._codec.tables)
        difference = self.terms.difference(message.terms)
        if difference:
            return self._refuse(difference)
        self._agreed = message.terms
        self._queue(Hello(self.terms, self._avatar, self._forecaster, self._secret))
        if self._avatar:
            self.state = State.STREAMING
            return [Agreed(message.terms, self._forecaster), PeerReady()]
        self.state = State.PICTURE
        return [Agreed(message.terms, self._forecaster)]

    def _on_chunk(self, message: SourceChunk, now: float) -> list[Event]:
        data = self._pictures.take(message, now)
        if data is None:
            return []
        picture = pictures.decode(data)
        self._queue(Ready(message.picture))
        self.state = State.STREAMING
        return [SourcePicture(picture), PeerReady()]

    def _on_further(self, message: SourceChunk, now: float) -> list[Event]:
        """A broken further picture ends nothing, at first: the call goes on without it and asks again."""
        data = self._pictures.take(message, now)
        if data is None:
            return []
        try:
            picture = pictures.decode(data)
        except PeerError:
            self.bad_pictures += 1
            if self.bad_pictures > MAX_BAD_PICTURES:
                raise
            self.want_again(message.slot)
            return []
        self._queue(Ready(message.picture))
        return [SourcePicture(picture, message.slot)]
