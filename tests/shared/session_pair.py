"""Two sessions and a fake wire between them, for the tests of sessions."""

from collections.abc import Container

import numpy as np

from models.lite.layout import DIMENSIONS, LAYOUT
from shared.codec.keypoint_codec import PaperCodec
from shared.codec.packet import KeypointPacket
from shared.constants import CallTerms
from shared.errors import PeerError
from shared.media import picture as pictures
from shared.protocol.events import Event, KeypointsArrived, SourcePicture, State
from shared.protocol.message_format import pack_message, parse_message
from shared.protocol.messages import Bye, Hello, Message
from shared.protocol.receiver_session import ReceiverSession
from shared.protocol.resumption import proof
from shared.protocol.sender_session import LargerPicture, SenderSession

TERMS = CallTerms("lite", "abc", LAYOUT.keypoints, DIMENSIONS)
PICTURE = pictures.encode(np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8))
SECRET = bytes(range(16))
BINDING = b"the keys of both ends"
PROOF = proof(SECRET, "sender", BINDING)
FRAMES = np.random.default_rng(1).uniform(-1, 1, (4, 60)).astype(np.float32)
SMALL = pictures.encode(np.full((256, 256, 3), 90, np.uint8))


def with_pictures(receiver: ReceiverSession, events: list[Event], now: float) -> list[Event]:
    """Decode the pictures among `events`, as a receiver does; return all that happens but broken ones."""
    happened: list[Event] = []
    for event in events:
        if not isinstance(event, SourcePicture):
            happened.append(event)
            continue
        try:
            pictures.decode(event.data, receiver.picture_size)
        except PeerError as error:
            happened += receiver.picture_broken(event, str(error))
        else:
            happened += [event, *receiver.picture_taken(event, now)]
    return happened


def received(receiver: ReceiverSession, data: bytes, now: float) -> list[Event]:
    """Have a keypoint packet come, and be decoded as a receiver does; return all that happens."""
    happened: list[Event] = []
    for event in receiver.receive_kp(data, now):
        if not isinstance(event, KeypointsArrived):
            happened.append(event)
            continue
        try:
            block = event.decode()
        except PeerError:
            happened += receiver.keypoints_broken()
        else:
            happened += receiver.keypoints_decoded(event, block)
    return happened


class ConnectionPair:
    """A sender and a receiver; `settle` carries ctl messages both ways until neither has more to say."""

    def __init__(
        self,
        sender_terms: CallTerms = TERMS,
        receiver_terms: CallTerms = TERMS,
        picture: bytes | None = PICTURE,
        avatar: bool = False,
        *,
        offers_voice: bool = False,
        wants_voice: bool = False,
        offers_both: bool = False,
        wants_both: bool = False,
        offers_status: bool = False,
        wants_status: bool = False,
        offers_media: bool = False,
        wants_media: bool = False,
        larger: LargerPicture | None = None,
        sizes: Container[int] = (),
    ) -> None:
        self.sender = SenderSession(
            sender_terms, PaperCodec(DIMENSIONS), picture, offers_voice, larger,
            both=offers_both, status=offers_status, media=offers_media,
        )  # fmt: skip
        self.receiver = ReceiverSession(
            receiver_terms, {"paper": PaperCodec(DIMENSIONS)}, avatar, "hold", SECRET,
            voice=wants_voice, both=wants_both, status=wants_status, media=wants_media, sizes=sizes,
        )  # fmt: skip
        self.sender_events: list[Event] = []
        self.receiver_events: list[Event] = []
        self.now = 0.0
        self.sender.start()

    def settle(self) -> None:
        while True:
            up, down = self.sender.outgoing(), self.receiver.outgoing()
            if not up and not down:
                return
            for data in up:
                events = self.receiver.receive_ctl(data, self.now)
                self.receiver_events += with_pictures(self.receiver, events, self.now)
            for data in down:
                self.sender_events += self.sender.receive_ctl(data, self.now)

    def to_receiver(self, message: Message) -> list[Event]:
        events = self.receiver.receive_ctl(pack_message(message), self.now)
        return with_pictures(self.receiver, events, self.now)

    def to_sender(self, message: Message) -> list[Event]:
        return self.sender.receive_ctl(pack_message(message), self.now)


def streaming(avatar: bool = False) -> ConnectionPair:
    pair = ConnectionPair(avatar=avatar)
    pair.settle()
    assert pair.sender.state is pair.receiver.state is State.STREAMING
    return pair


def only_bye(session: SenderSession | ReceiverSession) -> Bye:
    (data,) = session.outgoing()
    message = parse_message(data)
    assert isinstance(message, Bye)
    return message


def packet(first: int = 0, payload: bytes = bytes(240)) -> bytes:
    return KeypointPacket(first, 0, 1, payload).pack()


def awaiting_picture() -> ConnectionPair:
    pair = ConnectionPair()
    pair.to_receiver(Hello(TERMS))
    pair.receiver.outgoing()
    return pair


def let_pass(pair: ConnectionPair, seconds: float) -> None:
    """Time passes; ctl messages go to and fro."""
    until = pair.now + seconds
    while pair.now < until:
        pair.now += 0.1
        pair.sender_events += pair.sender.tick(pair.now)
        pair.settle()


def slots(pair: ConnectionPair) -> list[int]:
    return [event.slot for event in pair.receiver_events if isinstance(event, SourcePicture)]


def reconnected(pair: ConnectionPair, receiver: ReceiverSession | None = None) -> None:
    """Carry the sender's new hello to the receiver as a new connection does, and settle."""
    pair.sender.restart(BINDING)
    if receiver is not None:
        pair.receiver = receiver
    (data,) = pair.sender.outgoing()
    hello = parse_message(data)
    assert isinstance(hello, Hello)
    if pair.receiver.matches(hello, BINDING):
        pair.receiver.rejoin(BINDING)
    else:
        events = pair.receiver.receive_ctl(data, pair.now)
        pair.receiver_events += with_pictures(pair.receiver, events, pair.now)
    pair.settle()
