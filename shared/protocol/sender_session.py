"""The sender's side of the call protocol, without IO; see `shared.protocol.session`."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace

from shared.codec.keypoint_codec import Block, Codec
from shared.codec.packet import HEADER_BYTES, KeypointPacket
from shared.constants import MAX_PICTURE_BYTES, CallTerms
from shared.errors import PeerError
from shared.keypoints import Floats
from shared.media.voice_packet import MAX_LOAD, VoicePacket
from shared.protocol.events import Agreed, Event, PeerReady, PeerReport, State
from shared.protocol.messages import Hello, Message, Ready, Start, Status, Still, Want
from shared.protocol.picture_transfer import PictureSender
from shared.protocol.reports import Brief, Report
from shared.protocol.resumption import proof
from shared.protocol.session import Session, log


@dataclass(frozen=True, eq=False)
class LargerPicture:
    """The source picture as `data`, `size` pixels square, for a receiver that takes it so large."""

    size: int
    data: bytes


class SenderSession(Session):
    """The sender's side. `codec` is the one `terms` name; `picture` the encoded source, None to send none.

    `voice` offers the receiver sound as well, `larger` a larger source picture, where there is a `picture`,
    `both` that it may send, too, `media` keypoints as media, `status` to say when this side is muted or on
    hold.
    """

    side = "sender"

    def __init__(
        self,
        terms: CallTerms,
        codec: Codec,
        picture: bytes | None,
        voice: bool = False,
        larger: LargerPicture | None = None,
        *,
        both: bool = False,
        media: bool = False,
        status: bool = False,
    ) -> None:
        super().__init__(terms)
        if (codec.name, codec.tables) != (terms.codec, terms.tables):
            raise ValueError(f"the codec {codec.name!r} is not the one of the terms, {terms.codec!r}")
        self._codec = codec
        for data in (picture, None if larger is None else larger.data):
            if data is not None and not 0 < len(data) <= MAX_PICTURE_BYTES:
                raise ValueError(f"the source picture has {len(data)} bytes, not 1 to {MAX_PICTURE_BYTES}")
        self._picture, self._larger = picture, None if picture is None else larger
        self._agreed_size = 0
        self.pictures = PictureSender(self.tally)
        self._takes_pictures = False
        self._secret = self._offered = b""
        self._proof = b""  # by which a receiver would show that it still holds the call
        self._offers_voice, self._takes_voice = voice, False
        self._offers_both, self._offers_media = both, media
        self._reads_laden = False
        self._offers_status, self._reads_status = status, False
        self._status, self._said_status = Status(), False
        self._report = Report()
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
        self._report, self._short = replace(self._report, packets=0), False
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
        sound = self._offers_voice
        return Hello(
            self.terms, secret=secret, voice=sound, laden=sound, both=self._offers_both,
            media=self._offers_media, status=self._offers_status, size=self._offered_size,
        )  # fmt: skip

    @property
    def _offered_size(self) -> int:
        return 0 if self._larger is None else self._larger.size

    @property
    def picture_size(self) -> int:
        """The side of the source pictures that the receiver takes, in pixels."""
        return self._agreed_size or self.terms.size

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

    def send_status(self, muted: bool, held: bool) -> None:
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
            case _, Report() | Brief() as report if self._reads(report):
                return self._on_report(report)
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
        self._check_answer(message)
        self._takes_voice, self._reads_laden = message.voice, message.laden
        self._reads_status, self._short = message.status, message.media
        agreed = Agreed(self.terms, message.forecaster, message.both, message.media)
        log.debug(
            "sender: the receiver forecasts with %r, %s, %s", message.forecaster,
            "has a picture of its own" if message.avatar else "wants a picture",
            "takes sound" if message.voice else "takes no sound",
        )  # fmt: skip
        if self._proof and hmac.compare_digest(self._proof, message.secret):
            if message.size != self._agreed_size:
                raise PeerError("The receiver takes pictures of another size than before.")
            self.pictures.restart()
            self.state = State.STREAMING
            return [agreed, PeerReady(resumed=True)]
        self._offered, self._report = message.secret, Report()
        self._takes_pictures = not message.avatar
        if message.avatar:
            return [agreed, self._ready()]
        if self._picture is None:
            return self._refuse(
                "The sending side is anonymous and sends no picture; use --avatar IMAGE where it is shown."
            )
        self._give(self._picture, message.size)
        for chunk in self.pictures.at_once():
            self._queue(chunk)
        self.state = State.PICTURE
        return [agreed]

    def _give(self, picture: bytes, size: int) -> None:
        """Begin with a receiver that takes pictures of `size`, 0 for those of the terms."""
        if size != self._agreed_size:
            self.pictures.forget()
        self._agreed_size = size
        self.tally.picture_size = self.picture_size
        self.pictures.give(self._larger.data if size and self._larger is not None else picture)

    def _check_answer(self, message: Hello) -> None:
        """Raise PeerError where the receiver takes what was not offered."""
        offers = {
            "takes sound": not message.voice or self._offers_voice,
            "wants to send": not message.both or self._offers_both,
            "takes media": not message.media or self._offers_media,
            "listens to a status": not message.status or self._offers_status,
            "takes pictures of another size": message.size in (0, self._offered_size),
        }
        for what, is_offered in offers.items():
            if not is_offered:
                raise PeerError(f"The receiver {what}, which was not offered.")

    def _reads(self, report: Report | Brief) -> bool:
        in_turn = self.state is State.STREAMING and isinstance(report, Report)
        return in_turn or self._offers_media

    def _on_report(self, report: Report | Brief) -> list[Event]:
        # As media it may come before, or long after, what was said in order.
        if self.state is not State.STREAMING:
            return []
        self._report = report.after(self._report) if isinstance(report, Brief) else report
        return [PeerReport(self._report)]

    def _on_ready(self, message: Ready) -> list[Event]:
        self.pictures.confirm(message.picture)
        return [self._ready()]

    def _ready(self) -> PeerReady:
        self._secret = self._offered
        self.state = State.STREAMING
        return PeerReady()
