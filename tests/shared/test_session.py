"""Two sessions driven through a fake wire: every send is also a receive test."""

import dataclasses

import msgpack
import numpy as np
import pytest

from shared import picture as pictures
from shared.config import PICTURE_CHUNK, CallTerms
from shared.errors import RequestError
from shared.events import Agreed, Ended, Event, FramesArrived, PeerReady, PeerReport, SourcePicture, State
from shared.messages import Bye, Hello, Message, Ready, Report, SourceChunk, pack_message, parse_message
from shared.session import MAX_BAD_PACKETS, MAX_JUMP_FRAMES, ReceiverSession, SenderSession
from shared.wire import KeypointPacket

TERMS = CallTerms("lite", "abc")
PICTURE = pictures.encode(np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8))
FRAMES = np.random.default_rng(1).uniform(-1, 1, (4, 60)).astype(np.float32)


class ConnectionPair:
    """A sender and a receiver; `settle` carries ctl messages both ways until neither has more to say."""

    def __init__(
        self,
        sender_terms: CallTerms = TERMS,
        receiver_terms: CallTerms = TERMS,
        picture: bytes | None = PICTURE,
        avatar: bool = False,
    ) -> None:
        self.sender = SenderSession(sender_terms, picture)
        self.receiver = ReceiverSession(receiver_terms, avatar=avatar)
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
                self.receiver_events += self.receiver.receive_ctl(data, self.now)
            for data in down:
                self.sender_events += self.sender.receive_ctl(data, self.now)

    def to_receiver(self, message: Message) -> list[Event]:
        return self.receiver.receive_ctl(pack_message(message), self.now)

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


def test_a_call_from_hello_to_bye() -> None:
    pair = streaming()
    assert pair.sender_events == [Agreed(TERMS), PeerReady()]
    agreed, source, ready = pair.receiver_events
    assert (agreed, ready) == (Agreed(TERMS), PeerReady())
    assert isinstance(source, SourcePicture)
    np.testing.assert_array_equal(source.picture, pictures.decode(PICTURE))

    data = pair.sender.send_frames(12, 345, FRAMES)
    assert data is not None
    (arrived,) = pair.receiver.receive_kp(data, now=1.0)
    assert isinstance(arrived, FramesArrived)
    assert (arrived.first, arrived.timestamp_ms) == (12, 345)
    np.testing.assert_array_equal(arrived.frames, FRAMES)
    assert pair.sender.payload_bytes == pair.receiver.payload_bytes == 960
    assert pair.sender.frames == pair.receiver.frames == 4
    assert pair.sender.packets == pair.receiver.packets == 1

    report = Report(packets=1, highest=15, delay_ms=40, jitter_ms=3, frames_observed=4)
    pair.receiver.report(report)
    pair.settle()
    assert pair.sender_events[-1] == PeerReport(report)

    assert pair.sender.end("The clip is over.") == [Ended("The clip is over.", ok=True)]
    pair.settle()
    assert pair.receiver_events[-1] == Ended("The clip is over.", ok=True)
    assert pair.sender.state is pair.receiver.state is State.ENDED


def test_the_picture_goes_in_pieces_of_one_kib() -> None:
    pair = ConnectionPair()
    (hello,) = pair.sender.outgoing()
    pair.receiver.receive_ctl(hello, 0.0)
    (answer,) = pair.receiver.outgoing()
    pair.sender.receive_ctl(answer, 0.0)
    chunks = [parse_message(data) for data in pair.sender.outgoing()]
    assert len(chunks) == -(-len(PICTURE) // PICTURE_CHUNK)
    assert b"".join(chunk.data for chunk in chunks if isinstance(chunk, SourceChunk)) == PICTURE


def test_a_receiver_with_an_avatar_gets_no_picture() -> None:
    pair = streaming(avatar=True)
    assert pair.sender_events == [Agreed(TERMS), PeerReady()]
    assert pair.receiver_events == [Agreed(TERMS), PeerReady()]


def test_a_receiver_without_an_avatar_needs_a_picture() -> None:
    pair = ConnectionPair(picture=None)
    pair.settle()
    (_, ended) = pair.receiver_events
    assert isinstance(ended, Ended)
    assert not ended.ok
    assert "--avatar" in ended.reason
    assert pair.sender_events == [ended]


def test_the_receiver_takes_the_senders_schedule() -> None:
    theirs = dataclasses.replace(TERMS, observe=3, skip=9)
    pair = ConnectionPair(sender_terms=theirs)
    pair.settle()
    assert pair.receiver_events[0] == Agreed(theirs)
    assert pair.sender_events[0] == Agreed(theirs)


@pytest.mark.parametrize(
    ("field", "value"), [("backbone", "fomm"), ("fingerprint", "def"), ("fps", 25), ("keypoints", 15)]
)
def test_a_mismatch_ends_the_call_on_both_sides_naming_both_values(field: str, value: object) -> None:
    pair = ConnectionPair(sender_terms=dataclasses.replace(TERMS, **{field: value}))
    pair.settle()
    (ended,) = pair.receiver_events
    assert isinstance(ended, Ended)
    assert pair.sender_events == [ended]
    assert not ended.ok
    assert str(value) in ended.reason
    assert str(getattr(TERMS, field)) in ended.reason


def test_another_protocol_ends_the_call_naming_both() -> None:
    pair = ConnectionPair(sender_terms=dataclasses.replace(TERMS, protocol=2))
    pair.settle()
    (ended,) = pair.sender_events
    assert isinstance(ended, Ended)
    assert "protocol 1" in ended.reason
    assert "protocol 2" in ended.reason


def test_the_sender_checks_the_receivers_terms_too() -> None:
    pair = ConnectionPair()
    (ended,) = pair.to_sender(Hello(dataclasses.replace(TERMS, fingerprint="zzz")))
    assert isinstance(ended, Ended)
    assert "The receiver has weights zzz, the sender has abc" in ended.reason


def test_sessions_of_an_unknown_codec_or_without_a_sound_picture_are_not_made() -> None:
    with pytest.raises(RequestError, match="no codec 'zip'"):
        ReceiverSession(dataclasses.replace(TERMS, codec="zip"))
    with pytest.raises(ValueError, match="picture has 0 bytes"):
        SenderSession(TERMS, b"")


def test_starting_twice_is_a_mistake_of_ours() -> None:
    pair = ConnectionPair()
    with pytest.raises(ValueError, match="started before"):
        pair.sender.start()


def test_no_frames_leave_before_streaming_or_after_the_end() -> None:
    pair = ConnectionPair()
    assert pair.sender.send_frames(0, 0, FRAMES) is None
    pair.settle()
    assert pair.sender.send_frames(0, 0, FRAMES) is not None
    pair.sender.end("Done.")
    assert pair.sender.send_frames(4, 0, FRAMES) is None
    assert pair.sender.packets == 1


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("receiver", Hello(TERMS)),
        ("receiver", SourceChunk(0, 5, 0, b"abc")),
        ("receiver", Ready(0)),
        ("receiver", Report()),
        ("sender", Hello(TERMS)),
        ("sender", SourceChunk(0, 5, 0, b"abc")),
        ("sender", Ready(0)),
    ],
)
def test_a_message_out_of_turn_ends_the_call(to: str, message: Message) -> None:
    pair = streaming()
    (ended,) = pair.to_receiver(message) if to == "receiver" else pair.to_sender(message)
    assert isinstance(ended, Ended)
    assert not ended.ok
    assert "out of turn" in ended.reason


@pytest.mark.parametrize("garbage", [b"", b"\x00", b"\xff" * 100, bytes(20_000), msgpack.packb({"type": 1})])
def test_a_malformed_ctl_message_ends_the_call_with_a_bye(garbage: bytes) -> None:
    for session in (streaming().receiver, streaming().sender):
        (ended,) = session.receive_ctl(garbage, 0.0)
        assert isinstance(ended, Ended)
        assert not ended.ok
        assert only_bye(session) == Bye(ended.reason, ok=False)
        assert session.receive_ctl(garbage, 0.0) == []


def awaiting_picture() -> ConnectionPair:
    pair = ConnectionPair()
    pair.to_receiver(Hello(TERMS))
    pair.receiver.outgoing()
    return pair


@pytest.mark.parametrize(
    "chunks",
    [
        [SourceChunk(0, 100, 1, b"a")],
        [SourceChunk(1, 100, 0, b"a")],
        [SourceChunk(0, 100, 0, b"a"), SourceChunk(0, 100, 0, b"a")],
        [SourceChunk(0, 100, 0, b"a"), SourceChunk(0, 100, 2, b"a")],
        [SourceChunk(0, 100, 0, b"a"), SourceChunk(0, 101, 1, b"a")],
        [SourceChunk(0, 3, 0, b"abc")],
        [SourceChunk(0, 1000, 0, PICTURE[:1000])],
    ],
)
def test_a_hostile_picture_ends_the_call(chunks: list[SourceChunk]) -> None:
    pair = awaiting_picture()
    *fine, last = chunks
    for chunk in fine:
        assert pair.to_receiver(chunk) == []
    (ended,) = pair.to_receiver(last)
    assert isinstance(ended, Ended)
    assert "picture" in ended.reason
    assert not only_bye(pair.receiver).ok


def test_ready_for_a_picture_never_sent_ends_the_call() -> None:
    pair = ConnectionPair()
    pair.to_sender(Hello(TERMS))
    (ended,) = pair.to_sender(Ready(7))
    assert isinstance(ended, Ended)
    assert not ended.ok


def test_packets_before_streaming_are_counted_and_dropped() -> None:
    pair = awaiting_picture()
    assert pair.receiver.receive_kp(packet(), 0.0) == []
    assert (pair.receiver.early_packets, pair.receiver.bad_packets) == (1, 0)


@pytest.mark.parametrize(
    "data", [b"", b"\x11", packet(payload=bytes(239)), packet(payload=b"\xff" * 240), bytes(2000)]
)
def test_a_broken_packet_is_counted_and_the_call_goes_on(data: bytes) -> None:
    pair = streaming()
    assert pair.receiver.receive_kp(data, 0.0) == []
    assert pair.receiver.bad_packets == 1
    assert len(pair.receiver.receive_kp(packet(), 0.0)) == 1


def test_too_many_broken_packets_end_the_call() -> None:
    pair = streaming()
    for n in range(MAX_BAD_PACKETS):
        assert pair.receiver.receive_kp(b"garbage", n / 30) == []
    (ended,) = pair.receiver.receive_kp(b"garbage", 100.0)
    assert isinstance(ended, Ended)
    assert not ended.ok
    pair.settle()
    assert pair.sender_events[-1] == ended


def test_a_jump_of_over_ten_minutes_is_a_broken_packet() -> None:
    receiver = streaming().receiver
    assert len(receiver.receive_kp(packet(5_000_000), 0.0)) == 1
    assert len(receiver.receive_kp(packet(10), 0.0)) == 1
    assert len(receiver.receive_kp(packet(5_000_000 + MAX_JUMP_FRAMES), 0.0)) == 1
    assert receiver.receive_kp(packet(5_000_000 + 2 * MAX_JUMP_FRAMES + 1), 0.0) == []
    assert receiver.bad_packets == 1


def test_duplicates_and_any_order_pass() -> None:
    receiver = streaming().receiver
    for first in (8, 4, 4, 0, 8):
        assert len(receiver.receive_kp(packet(first), 0.0)) == 1


def test_a_burst_is_dropped_but_ends_nothing() -> None:
    receiver = streaming().receiver
    arrived = [receiver.receive_kp(packet(n), 0.0) for n in range(300)]
    assert sum(map(len, arrived)) == 240
    assert receiver.flood_packets == 60
    assert receiver.state is State.STREAMING


def test_a_lasting_flood_ends_the_call() -> None:
    pair = streaming()
    events: list[Event] = []
    for n in range(10_000):
        events += pair.receiver.receive_kp(packet(n), n / 1000)
        if pair.receiver.state is State.ENDED:
            break
    assert isinstance(events[-1], Ended)
    assert "floods" in events[-1].reason
    assert 5.0 < n / 1000 < 6.0


def test_a_flood_before_streaming_ends_the_call_too() -> None:
    receiver = awaiting_picture().receiver
    assert any(receiver.receive_kp(b"", n / 1000) for n in range(10_000))


def test_thirty_messages_a_second_are_never_too_many() -> None:
    receiver = streaming().receiver
    for n in range(3000):
        assert len(receiver.receive_kp(packet(n), n / 30)) == 1


def test_a_flood_of_reports_ends_the_call() -> None:
    pair = streaming()
    for _ in range(2000):
        pair.sender_events += pair.to_sender(Report())
    ended = pair.sender_events[-1]
    assert isinstance(ended, Ended)
    assert "too many" in ended.reason


def test_the_end_can_be_said_once_and_from_either_side() -> None:
    pair = streaming()
    assert pair.receiver.end("x" * 300) == [Ended("x" * 300, ok=True)]
    assert pair.receiver.end("again") == []
    assert pair.receiver.lost() == []
    pair.settle()
    assert pair.sender_events[-1] == Ended("x" * 200, ok=True)
    assert pair.sender.outgoing() == []
    assert pair.receiver.receive_kp(packet(), 0.0) == []


def test_a_lost_connection_is_no_normal_end() -> None:
    pair = streaming()
    (ended,) = pair.sender.lost("The cable is out.")
    assert ended == Ended("The cable is out.", ok=False)
    assert pair.sender.outgoing() == []


@pytest.mark.parametrize(("picture_comes", "seconds"), [(False, 15), (True, 60)])
def test_a_call_that_is_not_set_up_in_time_ends(picture_comes: bool, seconds: int) -> None:
    pair = awaiting_picture() if picture_comes else ConnectionPair()
    assert pair.receiver.tick(100.0) == []
    assert pair.receiver.tick(99.9 + seconds) == []
    (ended,) = pair.receiver.tick(100.0 + seconds)
    assert isinstance(ended, Ended)
    assert f"{seconds} seconds" in ended.reason
    assert not only_bye(pair.receiver).ok
    assert streaming().receiver.tick(1e9) == []


def test_reports_are_sent_only_while_streaming() -> None:
    pair = awaiting_picture()
    pair.receiver.report(Report())
    assert pair.receiver.outgoing() == []
