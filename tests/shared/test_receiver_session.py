"""The receiver's session: packets, pictures and hellos that are not what they should be."""

import dataclasses

import pytest

from models.lite.layout import DIMENSIONS
from shared.codec.keypoint_codec import Block, PaperCodec
from shared.protocol.events import Ended, Event, FramesArrived, PeerReady, SourcePicture, State
from shared.protocol.frame_clock import MAX_FRAME_DISTANCE
from shared.protocol.message_format import pack_message, parse_message
from shared.protocol.messages import Hello, Ready, SourceChunk, Start
from shared.protocol.receiver_session import (
    MAX_BAD_PACKETS,
    MAX_BAD_PICTURES,
    MAX_WAITING_PICTURES,
    ReceiverSession,
)
from shared.protocol.reports import Report
from shared.protocol.resumption import proof
from tests.shared.session_pair import (
    BINDING,
    FRAMES,
    PICTURE,
    PROOF,
    SECRET,
    SMALL,
    TERMS,
    ConnectionPair,
    awaiting_picture,
    let_pass,
    only_bye,
    packet,
    received,
    reconnected,
    slots,
    streaming,
)


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


def test_capture_times_are_known_once_the_sender_has_told_when_it_began() -> None:
    pair = streaming()
    data = pair.sender.packet(30, 7, Block(FRAMES))
    (before,) = received(pair.receiver, data, 0.0)
    assert isinstance(before, FramesArrived)
    assert before.timestamp_ms is None
    pair.sender.begin(2**32 - 500)
    pair.settle()
    (after,) = received(pair.receiver, data, 0.0)
    assert isinstance(after, FramesArrived)
    assert after.timestamp_ms == 500 + 7


def test_a_second_start_is_out_of_turn() -> None:
    pair = streaming()
    assert pair.to_receiver(Start(5)) == []
    (ended,) = pair.to_receiver(Start(6))
    assert isinstance(ended, Ended)
    assert "out of turn" in ended.reason


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


def test_a_broken_further_picture_is_asked_for_again_and_the_call_goes_on() -> None:
    pair = streaming()
    junk = b"junk" + SMALL[4:]
    pair.sender.send_picture(5, junk)
    let_pass(pair, 1.0)
    assert slots(pair) == [0]
    assert pair.receiver.tally.bad_pictures >= 1
    assert pair.receiver.state is State.STREAMING
    # Sent again at most twice at once, then every 30 s.
    let_pass(pair, 10.0)
    assert pair.receiver.tally.bad_pictures == 3
    let_pass(pair, 30.0)
    assert pair.receiver.tally.bad_pictures == 4


def test_too_many_broken_pictures_end_the_call() -> None:
    pair = streaming()
    events: list[Event] = []
    for number in range(1, MAX_BAD_PICTURES + 2):
        assert not events
        events = pair.to_receiver(SourceChunk(number, 1, 4, 0, b"junk"))
    assert isinstance(events[0], Ended)
    assert "readable" in events[0].reason


def whole(number: int, slot: int, data: bytes = SMALL) -> SourceChunk:
    return SourceChunk(number, slot, len(data), 0, data)


def undecoded(receiver: ReceiverSession, chunk: SourceChunk, now: float = 0.0) -> SourcePicture:
    (source,) = receiver.receive_ctl(pack_message(chunk), now)
    assert isinstance(source, SourcePicture)
    return source


def test_a_call_begins_when_its_picture_is_decoded_and_not_before() -> None:
    receiver = awaiting_picture().receiver
    source = undecoded(receiver, whole(0, 0))
    assert (source.data, source.slot) == (SMALL, 0)
    assert (receiver.state, receiver.outgoing()) == (State.PICTURE, [])
    assert received(receiver, packet(), 0.1) == []
    assert receiver.tally.early_packets == 1
    assert receiver.picture_taken(source, 0.2) == [PeerReady()]
    assert receiver.state is State.STREAMING
    assert [parse_message(data) for data in receiver.outgoing()] == [Ready(0)]


def test_a_sender_that_awaits_no_answer_fills_no_memory() -> None:
    receiver = streaming().receiver
    for number in range(1, 1 + MAX_WAITING_PICTURES):
        last = undecoded(receiver, whole(number, 1))
    receiver.picture_taken(last, 0.0)
    undecoded(receiver, whole(number + 1, 1))
    (ended,) = receiver.receive_ctl(pack_message(whole(number + 2, 1)), 0.0)
    assert isinstance(ended, Ended)
    assert "faster than they can be decoded" in ended.reason


@pytest.mark.parametrize("broken", [False, True])
def test_of_a_picture_that_came_over_another_connection_the_sender_hears_nothing(broken: bool) -> None:
    """There it counted from 0 too, and it sends again what was not confirmed."""
    pair = streaming()
    source = undecoded(pair.receiver, whole(1, 1))
    reconnected(pair)
    if broken:
        assert pair.receiver.picture_broken(source, "No picture.") == []
    else:
        assert pair.receiver.picture_taken(source, 0.0) == []
    assert pair.receiver.outgoing() == []
    assert pair.receiver.tally.bad_pictures == broken


@pytest.mark.parametrize("broken", [False, True])
def test_what_is_decoded_after_the_end_changes_nothing(broken: bool) -> None:
    for pair, chunk in ((awaiting_picture(), whole(0, 0)), (streaming(), whole(1, 1))):
        source = undecoded(pair.receiver, chunk)
        pair.receiver.lost()
        if broken:
            assert pair.receiver.picture_broken(source, "No picture.") == []
        else:
            assert pair.receiver.picture_taken(source, 0.0) == []
        assert (pair.receiver.outgoing(), pair.receiver.state) == ([], State.ENDED)


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
    assert "out of order" in ended.reason


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
    assert received(pair.receiver, packet(), 0.0) == []
    assert (pair.receiver.tally.early_packets, pair.receiver.tally.bad_packets) == (1, 0)


@pytest.mark.parametrize(
    "data", [b"", b"\x41", packet(payload=bytes(239)), packet(payload=b"\xff" * 240), bytes(2000)]
)
def test_a_broken_packet_is_counted_and_the_call_goes_on(data: bytes) -> None:
    pair = streaming()
    assert received(pair.receiver, data, 0.0) == []
    assert pair.receiver.tally.bad_packets == 1
    assert len(received(pair.receiver, packet(), 0.0)) == 1


def test_too_many_broken_packets_end_the_call() -> None:
    pair = streaming()
    for n in range(MAX_BAD_PACKETS):
        assert received(pair.receiver, b"garbage", n / 30) == []
    (ended,) = received(pair.receiver, b"garbage", 100.0)
    assert isinstance(ended, Ended)
    assert not ended.ok
    pair.settle()
    assert pair.sender_events[-1] == ended


def first_of(events: list[Event]) -> int:
    (arrived,) = events
    assert isinstance(arrived, FramesArrived)
    return arrived.first


def test_frame_numbers_run_no_further_ahead_than_the_clock_and_a_minute() -> None:
    receiver = streaming().receiver
    highest, leap = 0, 30_000
    for n in range(2400):
        events = received(receiver, packet(highest + leap), n / 100)
        if events and isinstance(events[0], FramesArrived):
            highest = events[0].first
        elif leap > 1:
            leap //= 2  # takes what it can get
    assert highest <= 30 * (n / 100) + MAX_FRAME_DISTANCE + 10
    assert receiver.tally.late_frames > 0


def test_a_receiver_whose_clock_stood_still_finds_its_sender_again() -> None:
    """A virtual machine's does, while the machine around it sleeps. The connection may well be a new one."""
    pair = streaming()
    for n in range(0, 300, 3):
        assert first_of(received(pair.receiver, packet(n), n / 30)) == n
    pair.now = 15.0
    reconnected(pair)
    back = 60 * 60 * 30 // 2
    for n in range(0, 300, 3):
        events = received(pair.receiver, packet(back + n), 15.0 + n / 30)
        assert len(events) == (n >= 150)
        assert not events or first_of(events) == back + n
    assert pair.receiver.tally.bad_packets == 0


def test_that_takes_no_call_further_ahead_than_the_numbers_on_the_wire_go() -> None:
    receiver = streaming().receiver
    highest = 0
    for n in range(0, 30_000, 100):
        # Silence about all but one far number, again and again.
        for event in received(receiver, packet(highest // 30_000 * 30_000 + 30_000), n / 100):
            assert isinstance(event, FramesArrived)
            highest = max(highest, event.first)
    assert highest == 60_000


def test_a_packet_from_over_a_minute_before_is_late_and_no_fault() -> None:
    """What waited in a socket while the machine slept comes all at once, before the present."""
    receiver = streaming().receiver
    for n in range(0, 600, 3):
        assert received(receiver, packet(n), 300.0 + n / 1000) == []
    assert (receiver.tally.late_frames, receiver.tally.bad_packets) == (200, 0)
    assert first_of(received(receiver, packet(9006), 300.2)) == 9006
    assert received(receiver, packet(9000 - MAX_FRAME_DISTANCE), 300.3) == []
    assert first_of(received(receiver, packet(9050 - MAX_FRAME_DISTANCE), 300.3)) == 9050 - MAX_FRAME_DISTANCE


def test_a_sender_whose_clock_stood_still_is_followed_back() -> None:
    receiver = streaming().receiver
    assert first_of(received(receiver, packet(30), 1.0)) == 30
    arrived = [received(receiver, packet(60 + n), 602.0 + n / 30) for n in range(0, 300, 3)]
    assert not any(arrived[:50])
    assert all(arrived[51:])
    assert receiver.tally.bad_packets == 0
    # It has gained nothing to leap by: where it would have been is as far away as any leap.
    assert received(receiver, packet(18_360), 612.0) == []


@pytest.mark.parametrize("minutes", [11, 37, 5 * 60, 49 * 60])
def test_a_sender_that_paused_is_followed_however_long_it_took(minutes: int) -> None:
    receiver = streaming().receiver
    for n in range(0, 300, 3):
        assert first_of(received(receiver, packet(n), n / 30)) == n
    # Its clock runs a little faster than ours.
    late = round(60 * minutes * 30 * 1.0001)
    for n in range(late, late + 300, 3):
        assert first_of(received(receiver, packet(n), 60 * minutes + (n - late) / 30)) == n
    assert receiver.tally.bad_packets == 0


def test_a_sender_that_comes_back_after_an_hour_is_where_its_clock_is() -> None:
    pair = streaming()
    assert first_of(received(pair.receiver, packet(30), 1.0)) == 30
    pair.now = 3600.0
    reconnected(pair)
    pair.sender.begin(0)
    pair.settle()
    assert first_of(received(pair.receiver, packet(108_030), 3601.0)) == 108_030


def test_clocks_that_run_apart_are_followed_for_a_day() -> None:
    receiver = streaming().receiver
    for n in range(0, 24 * 3600 * 30, 30 * 60):
        assert first_of(received(receiver, packet(n), n / 30 * 1.003)) == n


def test_duplicates_and_any_order_pass() -> None:
    receiver = streaming().receiver
    for first in (8, 4, 4, 0, 8):
        assert len(received(receiver, packet(first), 0.0)) == 1


def test_a_burst_is_dropped_but_ends_nothing() -> None:
    receiver = streaming().receiver
    arrived = [received(receiver, packet(n), 0.0) for n in range(300)]
    assert sum(map(len, arrived)) == 240
    assert receiver.tally.flood_packets == 60
    assert receiver.state is State.STREAMING


def test_a_lasting_flood_ends_the_call() -> None:
    pair = streaming()
    events: list[Event] = []
    for n in range(10_000):
        events += received(pair.receiver, packet(n * 3 // 100), n / 1000)
        if pair.receiver.state is State.ENDED:
            break
    assert isinstance(events[-1], Ended)
    assert "floods" in events[-1].reason
    assert 5.0 < n / 1000 < 6.0


def test_a_flood_before_streaming_ends_the_call_too() -> None:
    receiver = awaiting_picture().receiver
    assert any(received(receiver, b"", n / 1000) for n in range(10_000))


def test_thirty_messages_a_second_are_never_too_many() -> None:
    receiver = streaming().receiver
    for n in range(3000):
        assert len(received(receiver, packet(n), n / 30)) == 1


def test_reports_are_sent_only_while_streaming() -> None:
    pair = awaiting_picture()
    pair.receiver.report(Report())
    assert pair.receiver.outgoing() == []


@pytest.mark.parametrize(
    "hello",
    [
        Hello(TERMS),
        Hello(TERMS, secret=bytes(16)),
        Hello(TERMS, secret=SECRET),
        Hello(TERMS, secret=proof(SECRET[::-1], "sender", BINDING)),
        Hello(TERMS, secret=proof(SECRET, "receiver", BINDING)),
        Hello(TERMS, secret=proof(SECRET, "sender", b"other keys")),
        Hello(dataclasses.replace(TERMS, skip=3), secret=PROOF),
    ],
)
def test_only_a_proof_of_the_secret_and_the_same_terms_match(hello: Hello) -> None:
    pair = streaming()
    assert pair.receiver.matches(Hello(TERMS, secret=PROOF), BINDING)
    assert not pair.receiver.matches(hello, BINDING)


def test_without_a_secret_and_before_or_after_streaming_nothing_matches() -> None:
    right = Hello(TERMS, secret=PROOF)
    pair = ConnectionPair()
    assert not pair.receiver.matches(right, BINDING)
    pair.settle()
    pair.receiver.end("Enough.")
    assert not pair.receiver.matches(right, BINDING)
    pair = ConnectionPair()
    pair.receiver = ReceiverSession(TERMS, {"paper": PaperCodec(DIMENSIONS)})
    pair.settle()
    assert not pair.receiver.matches(Hello(TERMS), BINDING)
    assert not pair.receiver.matches(Hello(TERMS, secret=proof(b"", "sender", BINDING)), BINDING)
    reconnected(pair, ReceiverSession(TERMS, {"paper": PaperCodec(DIMENSIONS)}))
    assert pair.sender_events[-1] == PeerReady(resumed=False)
