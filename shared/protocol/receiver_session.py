"""The receiver's side of the call protocol, without IO; see `shared.protocol.session`."""

from __future__ import annotations

import hmac
from collections.abc import Container, Mapping
from dataclasses import replace

from shared.clock import WALL_MODULUS
from shared.codec.keypoint_codec import Block, Codec, filled_copies
from shared.codec.packet import KeypointPacket
from shared.constants import FPS, CallTerms
from shared.errors import PeerError
from shared.media.voice_packet import BLOCK_SECONDS
from shared.protocol.events import (
    Agreed,
    Event,
    FramesArrived,
    KeypointsArrived,
    PeerReady,
    PeerStatus,
    SourcePicture,
    State,
)
from shared.protocol.frame_clock import FrameClock
from shared.protocol.limits import RateLimit
from shared.protocol.messages import Hello, Message, Ready, SourceChunk, Start, Status, Still, Want
from shared.protocol.picture_transfer import PictureAssembler
from shared.protocol.reports import Brief, Report
from shared.protocol.resumption import proof
from shared.protocol.session import Session, log
from shared.protocol.voice_intake import VoiceIntake
from shared.runtime.logs import logger

pictures_log = logger("pictures")
MAX_BAD_PACKETS = 200
MAX_BAD_PICTURES = 8
MAX_WAITING_PICTURES = 4
"""Pictures that have come and are not decoded yet. An honest sender awaits the answer to each."""
KP_PER_SECOND, KP_BURST = 120.0, 240.0
FLOOD_SECONDS = 5.0


class ReceiverSession(Session):
    """The receiver's side. With `avatar`, it has a picture of its own and asks for none.

    `codecs` are those it knows by name: the sender chooses which of them a call uses. `forecaster` is sent to
    the sender, and so is `secret` (16 random bytes), by which it may take up this call again. Sound is taken
    where `voice` is true and the sender offers it; likewise, with `status`, its word that it is muted or on
    hold, and source pictures of another size than that of the terms, if it is one of `sizes`. `both` says
    that something is sent back where it would be shown, `media` that keypoints are read as media where the
    sender offers that.
    """

    side = "receiver"

    def __init__(
        self,
        terms: CallTerms,
        codecs: Mapping[str, Codec],
        avatar: bool = False,
        forecaster: str = "",
        secret: bytes = b"",
        *,
        voice: bool = False,
        both: bool = False,
        media: bool = False,
        status: bool = False,
        sizes: Container[int] = (),
    ) -> None:
        super().__init__(terms)
        self._codecs = codecs
        self._codec: Codec | None = None
        self._avatar = avatar
        self._forecaster = forecaster
        self._secret = secret
        self._wants_voice = voice
        self._sizes, self._agreed_size = sizes, 0
        self.takes_voice = self._offers_laden = False
        """Whether sound will come: known once the sender has said hello."""
        self._wants_both, self.sends_back = both, False
        self._wants_media, self.uses_media = media, False
        """Whether keypoints and reports travel as media; known as that of sound."""
        self._wants_status, self._takes_status = status, False
        self._voice = VoiceIntake(self.tally.voice)
        self._agreed: CallTerms | None = None
        self._awaits_start = True
        self._started_ms: int | None = None
        self._pictures = PictureAssembler(self.tally)
        self._waiting_pictures = self._link = 0
        self._limit = RateLimit(KP_PER_SECOND, KP_BURST)
        self._frame_clock, self._clock_is_set = FrameClock(), False

    def matches(self, hello: Hello, binding: bytes) -> bool:
        """Say whether `hello`, over a new connection of `binding`, comes from this very call's sender."""
        wanted = proof(self._secret, "sender", binding)
        known = bool(self._secret) and hmac.compare_digest(wanted, hello.secret)
        same = (
            hello.terms, hello.voice and self._wants_voice, hello.status and self._wants_status,
            self._size_of(hello),
        ) == (self._agreed, self.takes_voice, self._takes_status, self._agreed_size)  # fmt: skip
        return known and self.state is State.STREAMING and same

    def rejoin(self, binding: bytes) -> None:
        """Go on over a new connection of `binding`, whose hello `matches`: queues the answer to it."""
        self._outgoing.clear()
        self._pictures.restart()
        self._link += 1
        self._awaits_start, self._clock_is_set = True, True
        self._voice.restart()
        log.debug("receiver: the call goes on over a new connection")
        self._queue(self._hello(proof(self._secret, "receiver", binding)))

    def _hello(self, secret: bytes) -> Hello:
        laden = self.takes_voice and self._offers_laden
        return Hello(
            self.terms, self._avatar, self._forecaster, secret, self.takes_voice, laden,
            self.sends_back, self.uses_media, self._takes_status, self._agreed_size,
        )  # fmt: skip

    def _size_of(self, hello: Hello) -> int:
        """Return the size of pictures that is agreed on with `hello`, 0 for that of the terms."""
        return hello.size if hello.size in self._sizes and not self._avatar else 0

    @property
    def picture_size(self) -> int:
        """The side of the source pictures that will come, in pixels."""
        return self._agreed_size or self.terms.size

    def receive_voice(self, data: bytes, now: float) -> list[Event]:
        """Take in a sound packet that arrived at `now` (monotonic s); a bad one is counted and dropped."""
        if self.state is State.ENDED:
            return []
        taken = self.takes_voice and self.state is State.STREAMING
        near = self._frame_clock.at(now) / FPS / BLOCK_SECONDS
        try:
            arrived, keypoints = self._voice.take(data, now, near if taken else None)
        except PeerError as error:
            return self._refuse(str(error))
        events: list[Event] = [] if arrived is None else [arrived]
        self.tally.heard["keypoints"] += len(keypoints)
        return [*events, *self.receive_kp(keypoints, now)] if keypoints else events

    def receive_kp(self, data: bytes, now: float) -> list[Event]:
        """Take in a kp message that arrived at `now` (monotonic s); a bad one is counted and dropped.

        What it holds is not decoded here: each `KeypointsArrived` is answered once, by `keypoints_decoded` or
        by `keypoints_broken`.
        """
        if self.state is State.ENDED:
            return []
        if not self._limit.allows(now):
            return self._over_limit(now)
        if self.state is not State.STREAMING:
            self.tally.early_packets += 1
            return []
        assert self._codec is not None  # streaming begins after the hello
        try:
            packet = KeypointPacket.parse(data, self._frame_clock.latest(now))
        except PeerError:
            return self.keypoints_broken()
        return [KeypointsArrived(packet, self._codec, now)]

    def _over_limit(self, now: float) -> list[Event]:
        self.tally.flood_packets += 1
        if self.tally.flood_packets == 1:
            log.debug("receiver: keypoint packets come too fast; those over the limit are dropped")
        if self._limit.seconds_over(now) <= FLOOD_SECONDS:
            return []
        return self._refuse("The sender floods the call with keypoint packets.")

    def keypoints_broken(self) -> list[Event]:
        """Take note that a packet could not be decoded. It is dropped; too many of them end the call."""
        if self.state is State.ENDED:
            return []
        self.tally.bad_packets += 1
        log.debug(
            "receiver: dropped a broken keypoint packet, number %d of this call", self.tally.bad_packets
        )
        if self.tally.bad_packets <= MAX_BAD_PACKETS:
            return []
        return self._refuse(f"The sender sent over {MAX_BAD_PACKETS} broken keypoint packets.")

    def report(self, report: Report) -> None:
        """Queue a report to the sender. Ignored unless streaming."""
        if self.state is State.STREAMING:
            self._queue(Brief.of(report) if self.uses_media else report)

    def want_again(self, slot: int) -> None:
        """Ask for the picture of `slot` (0 to 7) again. Ignored before streaming and with an avatar."""
        if self.state is State.STREAMING and not self._avatar:
            self._queue(Want(slot))

    def picture_taken(self, source: SourcePicture, now: float) -> list[Event]:
        """Take note at `now` (monotonic s) that `source` is in its slot; the first begins the streaming.

        Each is answered once, by this or by `picture_broken`, in the order in which they came.
        """
        self._waiting_pictures -= 1
        if self.state is State.ENDED:
            return []
        pictures_log.debug("picture %d is in slot %d", source.number, source.slot)
        # Over another connection the sender counts anew, and sends again what was not confirmed.
        if source.link == self._link:
            self._queue(Ready(source.number))
        return [self._streaming(now)] if self.state is State.PICTURE else []

    def picture_broken(self, source: SourcePicture, reason: str) -> list[Event]:
        """Take note that `source` could not be decoded, for `reason`. For the first that ends the call.

        A broken further picture ends nothing, at first: the call goes on without it and asks again.
        """
        self._waiting_pictures -= 1
        if self.state is State.ENDED:
            return []
        self.tally.bad_pictures += 1
        pictures_log.debug("picture %d for slot %d is broken: %s", source.number, source.slot, reason)
        if self.state is State.PICTURE or self.tally.bad_pictures > MAX_BAD_PICTURES:
            return self._refuse(reason)
        if source.link == self._link:
            self.want_again(source.slot)
        return []

    def keypoints_decoded(self, arrived: KeypointsArrived, block: Block) -> list[Event]:
        """Take note that `block` is what `arrived` holds. To be called in the order in which they came."""
        packet = arrived.packet
        if not self._frame_clock.follow(packet.first, arrived.now):
            self.tally.late_frames += packet.count
            return []
        self.tally.packets += 1
        self.tally.frames += packet.count
        self.tally.payload_bytes += len(packet.payload)
        captured = round(packet.first * 1000 / FPS) + packet.late_ms
        timestamp = None if self._started_ms is None else (self._started_ms + captured) % WALL_MODULUS
        copies = filled_copies(packet.first, block.copies)
        return [FramesArrived(packet.first, captured, timestamp, block.frames, copies)]

    def _handle(self, message: Message, now: float) -> list[Event]:
        match self.state, message:
            case State.START, Hello() as hello:
                return self._on_hello(hello, now)
            case State.STREAMING, Start() as start if self._awaits_start:
                return self._on_start(start, now)
            case State.STREAMING, Still():
                return []
            case State.PICTURE | State.STREAMING, SourceChunk() as chunk if not self._avatar:
                return self._on_chunk(chunk, now)
            case State.STREAMING, Status() as status if self._takes_status:
                return [PeerStatus(status)]
            case _:
                return super()._handle(message, now)

    def _on_hello(self, message: Hello, now: float) -> list[Event]:
        log.debug("receiver: hello with %s%s", message.terms, " and sound" if message.voice else "")
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
        self.takes_voice, self._offers_laden = self._wants_voice and message.voice, message.laden
        self.sends_back = self._wants_both and message.both
        self.uses_media = self._wants_media and message.media
        self._takes_status = self._wants_status and message.status
        self._agreed_size = self._size_of(message)
        self.tally.picture_size = self.picture_size
        self._queue(self._hello(self._secret))
        agreed = Agreed(message.terms, self._forecaster, self.sends_back, self.uses_media)
        if self._avatar:
            return [agreed, self._streaming(now)]
        self.state = State.PICTURE
        return [agreed]

    def _streaming(self, now: float) -> PeerReady:
        self.state = State.STREAMING
        # Until the sender has announced it: keypoints may overtake its word.
        self._frame_clock.begin(now)
        return PeerReady()

    def _on_start(self, message: Start, now: float) -> list[Event]:
        if not self._clock_is_set:
            self._frame_clock.begin(now)
        self._clock_is_set = True
        log.debug("receiver: frames begin at %d ms of the sender's clock", message.wall_ms)
        self._started_ms, self._awaits_start = message.wall_ms, False
        return []

    def _on_chunk(self, message: SourceChunk, now: float) -> list[Event]:
        data = self._pictures.take(message, now)
        if data is None:
            return []
        if self._waiting_pictures == MAX_WAITING_PICTURES:
            raise PeerError("The sender sends source pictures faster than they can be decoded.")
        self._waiting_pictures += 1
        return [SourcePicture(data, message.slot, message.picture, self._link, message.alone)]
