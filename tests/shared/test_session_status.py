"""A sender's word that it is muted or on hold: agreed on, said when it changes, refused where it was not."""

import pytest

from models.lite.layout import DIMENSIONS
from shared.codec.keypoint_codec import PaperCodec
from shared.protocol.events import Ended, PeerStatus, State
from shared.protocol.message_format import parse_message
from shared.protocol.messages import Hello, Status
from shared.protocol.receiver_session import ReceiverSession
from tests.shared.session_pair import (
    BINDING,
    PICTURE,
    SECRET,
    TERMS,
    ConnectionPair,
    let_pass,
    only_bye,
    reconnected,
    slots,
    streaming,
)


def agreed() -> ConnectionPair:
    pair = ConnectionPair(offers_status=True, wants_status=True)
    pair.settle()
    assert pair.sender.state is pair.receiver.state is State.STREAMING
    return pair


def heard(pair: ConnectionPair) -> list[Status]:
    """Return what the receiver has been told, in order."""
    return [event.status for event in pair.receiver_events if isinstance(event, PeerStatus)]


def test_changes_are_said_and_nothing_else() -> None:
    pair = agreed()
    pair.sender.begin(0)
    for muted, held in [(False, False), (True, False), (True, False), (True, True), (False, False)]:
        pair.sender.send_status(muted, held)
    pair.settle()
    assert heard(pair) == [Status(True, False), Status(True, True), Status(False, False)]


def test_what_was_chosen_before_the_call_is_said_when_it_begins() -> None:
    pair = ConnectionPair(offers_status=True, wants_status=True)
    pair.sender.send_status(True, False)
    pair.settle()
    assert heard(pair) == []
    pair.sender.begin(0)
    pair.settle()
    assert heard(pair) == [Status(muted=True)]


def test_a_receiver_that_holds_the_call_learns_what_changed_while_the_connection_was_lost() -> None:
    pair = agreed()
    pair.sender.send_status(True, False)
    pair.settle()
    pair.sender.restart(BINDING)
    pair.sender.send_status(False, False)
    reconnected(pair)
    pair.sender.begin(0)
    pair.settle()
    assert heard(pair) == [Status(muted=True), Status()]


def test_a_new_receiver_learns_it_too() -> None:
    pair = agreed()
    pair.sender.send_status(False, True)
    pair.settle()
    codecs = {"paper": PaperCodec(DIMENSIONS)}
    other = ReceiverSession(TERMS, codecs, False, "hold", SECRET[::-1], status=True)
    reconnected(pair, other)
    pair.sender.begin(0)
    pair.settle()
    assert heard(pair) == [Status(held=True)] * 2


def test_on_hold_a_further_picture_waits() -> None:
    pair = agreed()
    assert pair.sender.send_picture(1, PICTURE)
    let_pass(pair, 0.5)
    before = pair.sender.tally.picture_wire_bytes
    pair.sender.send_status(False, True)
    let_pass(pair, 20.0)
    assert pair.sender.tally.picture_wire_bytes == before
    assert slots(pair) == [0]
    pair.sender.send_status(False, False)
    let_pass(pair, 60.0)
    assert slots(pair) == [0, 1]


@pytest.mark.parametrize(("offers", "wants"), [(True, False), (False, True), (False, False)])
def test_without_both_nothing_is_said(offers: bool, wants: bool) -> None:
    pair = ConnectionPair(offers_status=offers, wants_status=wants)
    (hello,) = pair.sender.outgoing()
    assert (b"status" in hello) is offers
    pair.receiver.receive_ctl(hello, 0.0)
    (answer,) = pair.receiver.outgoing()
    assert b"status" not in answer
    pair.sender.receive_ctl(answer, 0.0)
    pair.settle()
    pair.sender.begin(0)
    pair.sender.send_status(True, True)
    assert [type(parse_message(data)).__name__ for data in pair.sender.outgoing()] == ["Start"]


def test_a_call_is_not_taken_up_by_a_sender_that_now_offers_something_else() -> None:
    pair = agreed()
    pair.sender.restart(BINDING)
    (data,) = pair.sender.outgoing()
    hello = parse_message(data)
    assert isinstance(hello, Hello)
    assert pair.receiver.matches(hello, BINDING)
    assert not pair.receiver.matches(Hello(hello.terms, secret=hello.secret), BINDING)


def test_a_status_that_was_not_agreed_on_ends_the_call() -> None:
    pair = streaming()
    (ended,) = pair.to_receiver(Status(muted=True))
    assert isinstance(ended, Ended)
    assert only_bye(pair.receiver).reason == "The other side sent a Status message out of turn (STREAMING)."


def test_a_status_before_streaming_ends_the_call() -> None:
    pair = ConnectionPair(wants_status=True)
    pair.to_receiver(Hello(TERMS, status=True))
    (ended,) = pair.to_receiver(Status())
    assert isinstance(ended, Ended)


def test_a_receiver_says_no_status_and_takes_none_that_was_not_offered() -> None:
    pair = agreed()
    (ended,) = pair.to_sender(Status())
    assert isinstance(ended, Ended)
    pair = ConnectionPair()
    pair.sender.outgoing()
    (ended,) = pair.to_sender(Hello(TERMS, status=True))
    assert "not offered" in only_bye(pair.sender).reason


def test_a_flood_of_them_ends_the_call() -> None:
    pair = agreed()
    for n in range(1000):
        events = pair.to_receiver(Status(muted=n % 2 == 0))
        if isinstance(events[0], Ended):
            break
    assert "too many control messages" in only_bye(pair.receiver).reason
