"""The sender's session: what it says, the pictures it sends, what it takes from a receiver."""

import dataclasses

import pytest

from models.lite.layout import DIMENSIONS
from shared.codec.keypoint_codec import PaperCodec
from shared.constants import PICTURE_CHUNK
from shared.protocol.events import Ended, SourcePicture, State
from shared.protocol.message_format import parse_message
from shared.protocol.messages import Hello, Message, Ready, SourceChunk, Want
from shared.protocol.picture_transfer import PACE_KBPS
from shared.protocol.reports import Report
from shared.protocol.sender_session import SenderSession
from tests.shared.session_pair import (
    PICTURE,
    SMALL,
    TERMS,
    ConnectionPair,
    let_pass,
    reconnected,
    slots,
    streaming,
)


def test_the_picture_goes_in_pieces_of_one_kib() -> None:
    pair = ConnectionPair()
    (hello,) = pair.sender.outgoing()
    pair.receiver.receive_ctl(hello, 0.0)
    (answer,) = pair.receiver.outgoing()
    pair.sender.receive_ctl(answer, 0.0)
    chunks = [parse_message(data) for data in pair.sender.outgoing()]
    assert len(chunks) == -(-len(PICTURE) // PICTURE_CHUNK)
    assert b"".join(chunk.data for chunk in chunks if isinstance(chunk, SourceChunk)) == PICTURE


def test_the_sender_checks_the_receivers_terms_too() -> None:
    pair = ConnectionPair()
    (ended,) = pair.to_sender(Hello(dataclasses.replace(TERMS, fingerprint="zzz")))
    assert isinstance(ended, Ended)
    assert "The receiver has weights zzz, the sender has abc" in ended.reason


def test_sessions_of_another_codec_or_without_a_sound_picture_are_not_made() -> None:
    with pytest.raises(ValueError, match="codec 'paper' is not the one of the terms, 'zip'"):
        SenderSession(dataclasses.replace(TERMS, codec="zip"), PaperCodec(DIMENSIONS), PICTURE)
    with pytest.raises(ValueError, match="picture has 0 bytes"):
        SenderSession(TERMS, PaperCodec(DIMENSIONS), b"")


def test_starting_twice_is_a_mistake_of_ours() -> None:
    pair = ConnectionPair()
    with pytest.raises(ValueError, match="started before"):
        pair.sender.start()


def test_ready_for_a_picture_never_sent_ends_the_call() -> None:
    pair = ConnectionPair()
    pair.to_sender(Hello(TERMS))
    (ended,) = pair.to_sender(Ready(7))
    assert isinstance(ended, Ended)
    assert not ended.ok


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
    assert last.data == SMALL
    assert pair.sender.tally.pictures == 4


def test_a_further_picture_keeps_its_pace() -> None:
    pair = streaming()
    before = pair.sender.tally.picture_wire_bytes
    pair.sender.send_picture(1, PICTURE)
    let_pass(pair, 10.0)
    sent = pair.sender.tally.picture_wire_bytes - before
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
    assert pair.sender.tally.picture_wire_bytes < 60 * PACE_KBPS * 125 * 1.1 + len(PICTURE) * 2
    assert pair.sender.state is State.STREAMING


@pytest.mark.parametrize("message", [Want(1), Ready(1)])
def test_an_answer_to_no_picture_ends_the_call(message: Message) -> None:
    (ended,) = streaming().to_sender(message)
    assert isinstance(ended, Ended)
    assert "never sent" in ended.reason


def test_a_flood_of_reports_ends_the_call() -> None:
    pair = streaming()
    for _ in range(2000):
        pair.sender_events += pair.to_sender(Report())
    ended = pair.sender_events[-1]
    assert isinstance(ended, Ended)
    assert "too many" in ended.reason


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
