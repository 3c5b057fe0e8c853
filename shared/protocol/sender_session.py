"""The sender's side of the call protocol, without IO; see `shared.protocol.session`."""

from __future__ import annotations

import hmac

from shared.codec.keypoint_codec import Block, Codec
from shared.codec.packet import HEADER_BYTES, KeypointPacket
from shared.constants import MAX_PICTURE_BYTES, CallTerms
from shared.errors import PeerError
from shared.keypoints import Floats
from shared.media.voice_packet import MAX_LOAD, VoicePacket
from shared.protocol.events import Agreed, Event, PeerReady, PeerReport, State
from shared.protocol.messages import Hello, Message, Ready, Report, Start, Status, Still, Want
from shared.protocol.picture_transfer import PictureFeed
from shared.protocol.resumption import proof
from shared.protocol.session import Session, log


class SenderSession(Session):
    """The sender's side. `codec` is the one `terms` name; `picture` the encoded source, None to send none.

    `voice` offers the receiver sound as well, `both` that it may send, too, `media` keypoints as media,
    `status` to say when this side is muted or on hold.
    """

    side = "sender"

    def __init__(
        self,
        terms: CallTerms,
        codec: Codec,
        picture: bytes | None,
        voice: bool = False,
        *,
        both: bool = False,
        media: bool = False,
        status: bool = False,
    ) -> None:
        super().__init__(terms)
        if (codec.name, codec.tables) != (terms.codec, terms.tables):
            raise ValueError(f"the codec {codec.name!r} is not the one of the terms, {terms.codec!r}")
        self._codec = codec
        if picture is not None and not 0 < len(picture) <= MAX_PICTURE_BYTES:
            raise ValueError(f"the source picture has {len(picture)} bytes, not 1 to {MAX_PICTURE_BYTES}")
        self._picture = picture
        self.pictures = PictureFeed(self.tally)
        self._takes_pictures = False
        self._secret = self._offered = b""
        self._proof = b""  # by which a receiver would show that it still holds the call
        self._offers_voice, self._takes_voice = voice, False
        self._offers_both, self._offers_media = both, media
        self._reads_laden = False
        self._offers_status, self._reads_status = status, False
        self._status, self._said_status = Status(), False
        self._voice_count = 0

    def start(self) -> None:
        """Queue the hello."""
        if self.state is not State.START:
            raise ValueError("the call has been started before")
        log.debug("sender: hello with %s%s", self.terms, " and sound" if self._offers_voice else "")
        self._queue(self._hello())
        self.state = State.HELLO

    def restart(self, binding: bytes) -> None:
        """Queue the hello for a new connection; what was left to say over the one before is forgotten.

        `binding` is that connection's (see `interfaces.Connection`): whoever answers there may be anybody,
        and learns from the hello nothing by which to take up the call.
        """
        if self.state is State.ENDED:
            raise ValueError("the call has ended")
        self._outgoing.clear()
        self._set_up_by = None
        # Each connection has keys of its own, and counts from 0 under them.
        self._voice_count = 0
        mine = b""
        if self._secret:
            mine = proof(self._secret, "sender", binding)
            self._proof = proof(self._secret, "receiver", binding)
        log.debug("sender: hello over a new connection%s", ", to take the call up" if mine else "")
        self._queue(self._hello(mine))
        self.state = State.HELLO

    def _hello(self, secret: bytes = b"") -> Hello:
        voice = self._offers_voice
        return Hello(
            self.terms, secret=secret, voice=voice, laden=voice,
            both=self._offers_both, media=self._offers_media, status=self._offers_status,
        )  # fmt: skip

    def still(self) -> None:
        """Queue a sign of life. Ignored unless streaming."""
        if self.state is State.STREAMING:
            self._queue(Still())

    def begin(self, wall_ms: int) -> None:
        """Tell the receiver that frame 0 stands at `wall_ms`. Ignored unless streaming."""
        if self.state is State.STREAMING:
            self._queue(Start(wall_ms))
            # One that holds the call may have missed the last change.
            if self._said_status or self._status != Status():
                self._say_status()

    def tell_status(self, muted: bool, held: bool) -> None:
        """Have the receiver know, now or once streaming begins, where it listens to that.

        On hold (`held`) further pictures wait, too.
        """
        status = Status(muted, held)
        if status != self._status:
            self._status = status
            self._say_status()

    def _say_status(self) -> None:
        if self._reads_status and self.state is State.STREAMING:
            self._said_status = True
            self._queue(self._status)

    def packet(self, first: int, late_ms: int, block: Block) -> bytes:
        """Return the packet of a block whose frames are numbered from `first`; see `KeypointPacket`.

        Raise ValueError where the block cannot be coded or does not fit a packet.
        """
        payload = self._codec.encode(block)
        return KeypointPacket(first, late_ms, len(block.frames), payload).pack()

    def as_received(self, packet: bytes, frames: int) -> Floats:
        """Return what the receiver reads in a packet of ours: its frames (T, D)."""
        return self._codec.decode(packet[HEADER_BYTES:], frames).frames

    @property
    def takes_voice(self) -> bool:
        """Whether the receiver takes sound now."""
        return self._takes_voice and self.state is State.STREAMING

    @property
    def refuses_voice(self) -> bool:
        """Whether sound was offered and is not wanted."""
        return self._offers_voice and not self._takes_voice and self.state is State.STREAMING

    @property
    def puts_into_voice(self) -> bool:
        """Whether the receiver reads keypoint packets in sound packets now."""
        return self._reads_laden and self.takes_voice

    def fits_voice(self, frames: int) -> bool:
        """Say whether a packet of so many frames usually fits into a sound packet."""
        return self._codec.most_frames(MAX_LOAD - HEADER_BYTES) >= frames

    def voice(self, number: int, payload: bytes, keypoints: bytes = b"") -> bytes:
        """Return the packet of sound block `number`, and count it as sent; see `VoicePacket`.

        `keypoints` is a packet that travels along, where `puts_into_voice`.
        """
        packet = VoicePacket(number, self._voice_count, payload, keypoints).pack()
        self.tally.said["keypoints"] += len(keypoints)
        self._voice_count += 1
        self.tally.voice.packets += 1
        self.tally.voice.bytes += len(payload)
        return packet

    @property
    def takes_pictures(self) -> bool:
        """Whether the receiver has use for a further picture now."""
        return self._takes_pictures and self.state is State.STREAMING and self.pictures.idle

    def send_picture(self, slot: int, picture: bytes, alone: bool = False) -> bool:
        """Begin to send `picture` into `slot`, at `tick`'s pace; False unless `takes_pictures`.

        `alone`: what the receiver has in other slots is of another scene.
        """
        if not self.takes_pictures:
            return False
        self.pictures.begin(slot, picture, alone)
        return True

    def tick(self, now: float) -> list[Event]:
        """Also queues the next piece of a further picture, when it is time for one."""
        events = super().tick(now)
        moving = self.state is State.STREAMING and not self._status.held
        if moving and (chunk := self.pictures.next(now)) is not None:
            self._queue(chunk)
        return events

    def _handle(self, message: Message, now: float) -> list[Event]:
        match self.state, message:
            case State.HELLO, Hello() as hello:
                return self._on_hello(hello)
            case State.PICTURE, Ready() as ready:
                return self._on_ready(ready)
            case state, Report() as report if state is State.STREAMING or self._offers_media:
                # As media it may come before, or long after, what was said in order.
                return [PeerReport(report)] if state is State.STREAMING else []
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
        if message.voice and not self._offers_voice:
            raise PeerError("The receiver takes sound that was not offered.")
        if message.both and not self._offers_both:
            raise PeerError("The receiver wants to send, which was not offered.")
        if message.media and not self._offers_media:
            raise PeerError("The receiver takes media that were not offered.")
        if message.status and not self._offers_status:
            raise PeerError("The receiver listens to a status that was not offered.")
        self._takes_voice, self._reads_laden = message.voice, message.laden
        self._reads_status = message.status
        agreed = Agreed(self.terms, message.forecaster, message.both, message.media)
        log.debug(
            "sender: the receiver forecasts with %r, %s, %s", message.forecaster,
            "has a picture of its own" if message.avatar else "wants a picture",
            "takes sound" if message.voice else "takes no sound",
        )  # fmt: skip
        if self._proof and hmac.compare_digest(self._proof, message.secret):
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
