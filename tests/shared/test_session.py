"""Two sessions driven through a fake wire: every send is also a receive test."""

import dataclasses

import msgpack
import numpy as np
import pytest

from shared import picture as pictures
from shared.codec import Block, PaperCodec
from shared.config import PICTURE_CHUNK, CallTerms
from shared.events import Agreed, Ended, Event, FramesArrived, PeerReady, PeerReport, SourcePicture, State
from shared.feed import PACE_KBPS
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
from shared.session import MAX_BAD_PACKETS, MAX_BAD_PICTURES, MAX_JUMP_FRAMES, ReceiverSession, SenderSession
from shared.wire import KeypointPacket

TERMS = CallTerms("lite", "abc")
PICTURE = pictures.encode(np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8))
SMALL = pictures.encode(np.random.default_rng(2).integers(0, 9, (256, 256, 3), dtype=np.uint8))
SECRET = bytes(range(16))
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
        self.sender = SenderSession(sender_terms, PaperCodec(), picture)
        self.receiver = ReceiverSession(receiver_terms, {"paper": PaperCodec()}, avatar, "hold", SECRET)
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
    assert pair.sender_events == [Agreed(TERMS, "hold"), PeerReady()]
    agreed, source, ready = pair.receiver_events
    assert (agreed, ready) == (Agreed(TERMS, "hold"), PeerReady())
    assert isinstance(source, SourcePicture)
    np.testing.assert_array_equal(source.picture, pictures.decode(PICTURE))

    pair.sender.begin(1000)
    pair.settle()
    data = pair.sender.packet(12, 5, Block(FRAMES))
    pair.sender.sent(data, 4)
    np.testing.assert_array_equal(pair.sender.as_received(data, 4), FRAMES)
    (arrived,) = pair.receiver.receive_kp(data, now=1.0)
    assert isinstance(arrived, FramesArrived)
    assert (arrived.first, arrived.timestamp_ms) == (12, 1000 + 400 + 5)
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
    assert pair.sender_events == [Agreed(TERMS, "hold"), PeerReady()]
    assert pair.receiver_events == [Agreed(TERMS, "hold"), PeerReady()]


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
    assert pair.receiver_events[0] == Agreed(theirs, "hold")
    assert pair.sender_events[0] == Agreed(theirs, "hold")


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
    pair = ConnectionPair(sender_terms=dataclasses.replace(TERMS, protocol=1))
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


def test_sessions_of_another_codec_or_without_a_sound_picture_are_not_made() -> None:
    with pytest.raises(ValueError, match="codec 'paper' is not the one of the terms, 'zip'"):
        SenderSession(dataclasses.replace(TERMS, codec="zip"), PaperCodec(), PICTURE)
    with pytest.raises(ValueError, match="picture has 0 bytes"):
        SenderSession(TERMS, PaperCodec(), b"")


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"codec": "zip"}, "does not know the sender's codec 'zip', only: paper."),
        ({"tables": "beef"}, "The receiver has codec tables none, the sender has beef"),
    ],
)
def test_a_codec_that_the_receiver_lacks_ends_the_call(changed: dict[str, str], sentence: str) -> None:
    pair = ConnectionPair()
    (ended,) = pair.to_receiver(Hello(dataclasses.replace(TERMS, **changed)))
    assert isinstance(ended, Ended)
    assert sentence in ended.reason
    assert not only_bye(pair.receiver).ok


def test_starting_twice_is_a_mistake_of_ours() -> None:
    pair = ConnectionPair()
    with pytest.raises(ValueError, match="started before"):
        pair.sender.start()


def test_capture_times_are_known_once_the_sender_has_told_when_it_began() -> None:
    pair = streaming()
    data = pair.sender.packet(30, 7, Block(FRAMES))
    (before,) = pair.receiver.receive_kp(data, 0.0)
    assert isinstance(before, FramesArrived)
    assert before.timestamp_ms is None
    pair.sender.begin(2**32 - 500)
    pair.settle()
    (after,) = pair.receiver.receive_kp(data, 0.0)
    assert isinstance(after, FramesArrived)
    assert after.timestamp_ms == 500 + 7


def test_a_second_start_is_out_of_turn() -> None:
    pair = streaming()
    assert pair.to_receiver(Start(5)) == []
    (ended,) = pair.to_receiver(Start(6))
    assert isinstance(ended, Ended)
    assert "out of turn" in ended.reason


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("receiver", Hello(TERMS)),
        ("receiver", Ready(0)),
        ("receiver", Want(0)),
        ("receiver", Report()),
        ("sender", Hello(TERMS)),
        ("sender", SourceChunk(0, 0, 5, 0, b"abc")),
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
        [SourceChunk(0, 0, 100, 1, b"a")],
        [SourceChunk(1, 0, 100, 0, b"a")],
        [SourceChunk(0, 0, 100, 0, b"a"), SourceChunk(0, 0, 100, 0, b"a")],
        [SourceChunk(0, 0, 100, 0, b"a"), SourceChunk(0, 0, 100, 2, b"a")],
        [SourceChunk(0, 0, 100, 0, b"a"), SourceChunk(0, 0, 101, 1, b"a")],
        [SourceChunk(0, 0, 3, 0, b"abc")],
        [SourceChunk(0, 0, 1000, 0, PICTURE[:1000])],
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


# Further pictures.


SMALL = pictures.encode(np.full((256, 256, 3), 90, np.uint8))


def let_pass(pair: ConnectionPair, seconds: float) -> None:
    """Time passes; ctl messages go to and fro."""
    until = pair.now + seconds
    while pair.now < until:
        pair.now += 0.1
        pair.sender_events += pair.sender.tick(pair.now)
        pair.settle()


def slots(pair: ConnectionPair) -> list[int]:
    return [event.slot for event in pair.receiver_events if isinstance(event, SourcePicture)]


def test_further_pictures_arrive_one_after_the_other_in_the_slots_named() -> None:
    pair = streaming()
    for slot in (3, 1, 3):
        assert pair.sender.send_picture(slot, SMALL)
        assert not pair.sender.takes_pictures
        assert not pair.sender.send_picture(2, SMALL)
        let_pass(pair, 2.0)
        assert pair.sender.takes_pictures
    assert slots(pair) == [0, 3, 1, 3]
    last = pair.receiver_events[-1]
    assert isinstance(last, SourcePicture)
    np.testing.assert_array_equal(last.picture, pictures.decode(SMALL))
    assert pair.sender.pictures.completed == 4


def test_a_further_picture_keeps_its_pace() -> None:
    pair = streaming()
    before = pair.sender.pictures.sent_bytes
    pair.sender.send_picture(1, PICTURE)
    let_pass(pair, 10.0)
    sent = pair.sender.pictures.sent_bytes - before
    assert 0.75 * PACE_KBPS < sent * 8 / 1000 / 10 < 1.1 * PACE_KBPS
    assert slots(pair) == [0]


def test_a_receiver_with_an_avatar_gets_and_takes_no_further_picture() -> None:
    pair = streaming(avatar=True)
    assert not pair.sender.send_picture(1, SMALL)
    pair.receiver.want_again(0)
    assert pair.receiver.outgoing() == []
    (ended,) = pair.to_receiver(SourceChunk(0, 0, 5, 0, b"abc"))
    assert isinstance(ended, Ended)
    assert "out of turn" in ended.reason


def test_no_further_picture_before_streaming_or_after_the_end() -> None:
    pair = ConnectionPair()
    assert not pair.sender.send_picture(1, SMALL)
    pair.settle()
    pair.sender.end("Done.")
    assert not pair.sender.send_picture(1, SMALL)


def test_a_broken_further_picture_is_asked_for_again_and_the_call_goes_on() -> None:
    pair = streaming()
    junk = b"junk" + SMALL[4:]
    pair.sender.send_picture(5, junk)
    let_pass(pair, 1.0)
    assert slots(pair) == [0]
    assert pair.receiver.bad_pictures >= 1
    assert pair.receiver.state is State.STREAMING
    # Sent again at most twice at once, then every 30 s.
    let_pass(pair, 10.0)
    assert pair.receiver.bad_pictures == 3
    let_pass(pair, 30.0)
    assert pair.receiver.bad_pictures == 4


def test_too_many_broken_pictures_end_the_call() -> None:
    pair = streaming()
    events: list[Event] = []
    for number in range(1, MAX_BAD_PICTURES + 2):
        assert not events
        events = pair.to_receiver(SourceChunk(number, 1, 4, 0, b"junk"))
    assert isinstance(events[0], Ended)
    assert "readable" in events[0].reason


def test_a_receiver_may_ask_for_a_picture_again() -> None:
    pair = streaming()
    pair.sender.send_picture(2, SMALL)
    let_pass(pair, 2.0)
    pair.receiver.want_again(2)
    let_pass(pair, 2.0)
    assert slots(pair) == [0, 2, 2]
    pair.receiver.want_again(0)
    pair.receiver.want_again(0)
    let_pass(pair, 0.1)
    assert not pair.sender.takes_pictures


def test_asking_for_pictures_does_not_make_a_sender_talk() -> None:
    pair = streaming()
    for _ in range(600):
        pair.receiver.want_again(0)
        let_pass(pair, 0.1)
    assert pair.sender.pictures.sent_bytes < 60 * PACE_KBPS * 125 * 1.1 + len(PICTURE) * 2
    assert pair.sender.state is State.STREAMING


@pytest.mark.parametrize("message", [Want(1), Ready(1)])
def test_an_answer_to_no_picture_ends_the_call(message: Message) -> None:
    (ended,) = streaming().to_sender(message)
    assert isinstance(ended, Ended)
    assert "never sent" in ended.reason


@pytest.mark.parametrize(
    "chunks",
    [
        [SourceChunk(0, 0, 5, 0, b"abc")],
        [SourceChunk(2, 1, 5, 0, b"abc")],
        [SourceChunk(1, 1, 5, 1, b"abc")],
        [SourceChunk(1, 1, 5, 0, b"abc"), SourceChunk(1, 2, 5, 3, b"ab")],
        [SourceChunk(1, 1, 5, 0, b"abc"), SourceChunk(2, 1, 5, 3, b"ab")],
        [SourceChunk(1, 1, 5, 0, b"abc"), SourceChunk(1, 1, 6, 3, b"ab")],
        [SourceChunk(1, 1, 5, 0, b"abc"), SourceChunk(1, 1, 5, 0, b"abc")],
        [SourceChunk(1, 1, len(SMALL), 0, SMALL), SourceChunk(1, 1, len(SMALL), 0, SMALL)],
    ],
)
def test_hostile_further_pictures_end_the_call(chunks: list[SourceChunk]) -> None:
    pair = streaming()
    *fine, last = chunks
    for chunk in fine:
        assert not any(isinstance(event, Ended) for event in pair.to_receiver(chunk))
    (ended,) = pair.to_receiver(last)
    assert isinstance(ended, Ended)
    assert "do not follow" in ended.reason


def test_a_flood_of_sound_pictures_ends_the_call() -> None:
    pair = streaming()
    for number in range(1, 100):
        events = pair.to_receiver(SourceChunk(number, number % 8, len(SMALL), 0, SMALL))
        if isinstance(events[0], Ended):
            break
    assert number <= 16
    assert isinstance(events[0], Ended)
    assert "too many source pictures" in events[0].reason


def test_packets_before_streaming_are_counted_and_dropped() -> None:
    pair = awaiting_picture()
    assert pair.receiver.receive_kp(packet(), 0.0) == []
    assert (pair.receiver.early_packets, pair.receiver.bad_packets) == (1, 0)


@pytest.mark.parametrize(
    "data", [b"", b"\x41", packet(payload=bytes(239)), packet(payload=b"\xff" * 240), bytes(2000)]
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
    for first in (10_000, 10, 10_000 + MAX_JUMP_FRAMES, 10_000 + 2 * MAX_JUMP_FRAMES):
        assert len(receiver.receive_kp(packet(first), 0.0)) == 1
    assert receiver.receive_kp(packet(10_000 + 3 * MAX_JUMP_FRAMES + 1), 0.0) == []
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


def reconnected(pair: ConnectionPair, receiver: ReceiverSession | None = None) -> None:
    """Carry the sender's new hello to the receiver as a new connection does, and settle."""
    pair.sender.restart()
    if receiver is not None:
        pair.receiver = receiver
    (data,) = pair.sender.outgoing()
    hello = parse_message(data)
    assert isinstance(hello, Hello)
    if pair.receiver.matches(hello):
        pair.receiver.rejoin()
    else:
        pair.receiver_events += pair.receiver.receive_ctl(data, pair.now)
    pair.settle()


@pytest.mark.parametrize("avatar", [False, True])
def test_a_sender_that_comes_back_with_the_secret_goes_on_without_a_picture(avatar: bool) -> None:
    pair = streaming(avatar)
    pair.sender.begin(1000)
    pair.settle()
    pair.receiver.receive_kp(packet(70_000 % 2**16), 0.0)
    before = len(pair.receiver_events)
    pair.receiver.report(Report())  # was still to be said over the old connection
    reconnected(pair)
    assert pair.sender_events[-2:] == [Agreed(TERMS, "hold"), PeerReady(resumed=True)]
    assert len(pair.receiver_events) == before
    assert pair.sender.state is pair.receiver.state is State.STREAMING
    pair.sender.begin(1000)
    pair.settle()
    (arrived,) = pair.receiver.receive_kp(packet(70_000 % 2**16 + 1), 0.0)
    assert isinstance(arrived, FramesArrived)
    assert arrived.first == 70_000 % 2**16 + 1
    # One start for each connection, no more.
    (ended,) = pair.to_receiver(Start(1000))
    assert isinstance(ended, Ended)


def test_a_receiver_of_another_call_gets_the_pictures_of_all_slots() -> None:
    pair = streaming()
    assert pair.sender.send_picture(5, SMALL)
    for _ in range(40):
        pair.now += 1.0
        pair.sender.tick(pair.now)
        pair.settle()
    assert pair.sender.pictures.completed == 2
    pair.receiver_events.clear()
    other = ReceiverSession(TERMS, {"paper": PaperCodec()}, forecaster="damped", secret=bytes(16))
    reconnected(pair, other)
    assert pair.sender_events[-2:] == [Agreed(TERMS, "damped"), PeerReady(resumed=False)]
    for _ in range(40):
        pair.now += 1.0
        pair.sender.tick(pair.now)
        pair.settle()
    slots = [event.slot for event in pair.receiver_events if isinstance(event, SourcePicture)]
    assert slots == [0, 5]
    # From now on it is the other one's secret that counts.
    reconnected(pair)
    assert pair.sender_events[-1] == PeerReady(resumed=True)


def test_a_half_sent_picture_is_sent_again_after_the_call_was_taken_up() -> None:
    pair = streaming()
    assert pair.sender.send_picture(2, SMALL)
    pair.sender.tick(1.0)
    assert len(pair.sender.outgoing()) == 1  # lost with the connection
    pair.receiver_events.clear()
    reconnected(pair)
    for now in range(2, 40):
        pair.now = float(now)
        pair.sender.tick(pair.now)
        pair.settle()
    assert [event.slot for event in pair.receiver_events if isinstance(event, SourcePicture)] == [2]
    assert pair.sender.takes_pictures


@pytest.mark.parametrize(
    "hello",
    [
        Hello(TERMS),
        Hello(TERMS, secret=bytes(16)),
        Hello(TERMS, secret=SECRET[::-1]),
        Hello(dataclasses.replace(TERMS, skip=3), secret=SECRET),
    ],
)
def test_only_the_secret_and_the_same_terms_match(hello: Hello) -> None:
    pair = streaming()
    assert pair.receiver.matches(Hello(TERMS, secret=SECRET))
    assert not pair.receiver.matches(hello)


def test_without_a_secret_and_before_or_after_streaming_nothing_matches() -> None:
    right = Hello(TERMS, secret=SECRET)
    pair = ConnectionPair()
    assert not pair.receiver.matches(right)
    pair.settle()
    pair.receiver.end("Enough.")
    assert not pair.receiver.matches(right)
    pair = ConnectionPair()
    pair.receiver = ReceiverSession(TERMS, {"paper": PaperCodec()})
    pair.settle()
    assert not pair.receiver.matches(Hello(TERMS))
    reconnected(pair, ReceiverSession(TERMS, {"paper": PaperCodec()}))
    assert pair.sender_events[-1] == PeerReady(resumed=False)


def test_a_sign_of_life_is_welcome_while_streaming_only() -> None:
    pair = streaming()
    pair.sender.still()
    (data,) = pair.sender.outgoing()
    assert parse_message(data) == Still()
    assert pair.receiver.receive_ctl(data, 0.0) == []
    assert isinstance(streaming().to_sender(Still())[0], Ended)
    assert isinstance(ConnectionPair().to_receiver(Still())[0], Ended)
