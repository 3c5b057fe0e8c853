"""Two sessions driven through a fake wire: every send is also a receive test."""

import dataclasses

import msgpack
import numpy as np
import pytest

from models.lite.layout import DIMENSIONS
from shared.codec.keypoint_codec import Block, PaperCodec
from shared.protocol.events import Agreed, Ended, FramesArrived, PeerReady, PeerReport, SourcePicture, State
from shared.protocol.message_format import parse_message
from shared.protocol.messages import Bye, Hello, Message, Ready, SourceChunk, Start, Still, Want
from shared.protocol.receiver_session import ReceiverSession
from shared.protocol.reports import Report
from shared.protocol.resumption import proof
from tests.shared.session_pair import (
    BINDING,
    FRAMES,
    PICTURE,
    SECRET,
    SMALL,
    TERMS,
    ConnectionPair,
    awaiting_picture,
    only_bye,
    packet,
    received,
    reconnected,
    streaming,
)


def test_a_call_from_hello_to_bye() -> None:
    pair = streaming()
    assert pair.sender_events == [Agreed(TERMS, "hold"), PeerReady()]
    agreed, source, ready = pair.receiver_events
    assert (agreed, ready) == (Agreed(TERMS, "hold"), PeerReady())
    assert isinstance(source, SourcePicture)
    assert source.data == PICTURE

    pair.sender.begin(1000)
    pair.settle()
    data = pair.sender.packet(12, 5, Block(FRAMES))
    np.testing.assert_array_equal(pair.sender.as_received(data, 4), FRAMES)
    (arrived,) = received(pair.receiver, data, now=1.0)
    assert isinstance(arrived, FramesArrived)
    assert (arrived.first, arrived.timestamp_ms) == (12, 1000 + 400 + 5)
    np.testing.assert_array_equal(arrived.frames, FRAMES)
    assert (pair.receiver.tally.packets, pair.receiver.tally.frames, pair.receiver.tally.payload_bytes) == (
        1,
        4,
        960,
    )

    report = Report(packets=1, highest=15, delay_ms=40, jitter_ms=3, frames_observed=4)
    pair.receiver.report(report)
    pair.settle()
    assert pair.sender_events[-1] == PeerReport(report)

    assert pair.sender.end("The clip is over.") == [Ended("The clip is over.", ok=True)]
    pair.settle()
    assert pair.receiver_events[-1] == Ended("The clip is over.", ok=True)
    assert pair.sender.state is pair.receiver.state is State.ENDED


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


def test_the_end_can_be_said_once_and_from_either_side() -> None:
    pair = streaming()
    assert pair.receiver.end("x" * 300) == [Ended("x" * 300, ok=True)]
    assert pair.receiver.end("again") == []
    assert pair.receiver.lost() == []
    pair.settle()
    assert pair.sender_events[-1] == Ended("x" * 200, ok=True)
    assert pair.sender.outgoing() == []
    assert received(pair.receiver, packet(), 0.0) == []


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


@pytest.mark.parametrize("avatar", [False, True])
def test_a_sender_that_comes_back_with_the_secret_goes_on_without_a_picture(avatar: bool) -> None:
    pair = streaming(avatar)
    pair.sender.begin(1000)
    pair.settle()
    received(pair.receiver, packet(70_000), 70_000 / 30)
    before = len(pair.receiver_events)
    pair.receiver.report(Report())  # was still to be said over the old connection
    reconnected(pair)
    assert pair.sender_events[-2:] == [Agreed(TERMS, "hold"), PeerReady(resumed=True)]
    assert len(pair.receiver_events) == before
    assert pair.sender.state is pair.receiver.state is State.STREAMING
    pair.sender.begin(1000)
    pair.settle()
    (arrived,) = received(pair.receiver, packet(70_001), 70_001 / 30)
    assert isinstance(arrived, FramesArrived)
    assert arrived.first == 70_001
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
    assert pair.sender.tally.pictures == 2
    pair.receiver_events.clear()
    other = ReceiverSession(TERMS, {"paper": PaperCodec(DIMENSIONS)}, forecaster="damped", secret=bytes(16))
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


def test_an_echo_takes_nothing_up() -> None:
    """Who answers with the sender's own proof, or with all that was ever said, shows nothing."""
    for other in (b"other keys", BINDING):
        pair = streaming()
        pair.sender.restart(other)
        (data,) = pair.sender.outgoing()
        hello = parse_message(data)
        assert isinstance(hello, Hello)
        for secret in (hello.secret, SECRET, proof(SECRET, "receiver", b"keys of an earlier connection")):
            pair.sender.restart(other)
            events = pair.to_sender(Hello(TERMS, forecaster="hold", secret=secret))
            assert events == [Agreed(TERMS, "hold")]
            assert pair.sender.state is State.PICTURE


def test_a_sign_of_life_is_welcome_while_streaming_only() -> None:
    pair = streaming()
    pair.sender.still()
    (data,) = pair.sender.outgoing()
    assert parse_message(data) == Still()
    assert pair.receiver.receive_ctl(data, 0.0) == []
    assert isinstance(streaming().to_sender(Still())[0], Ended)
    assert isinstance(ConnectionPair().to_receiver(Still())[0], Ended)
