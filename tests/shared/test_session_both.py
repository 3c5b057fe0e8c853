"""Negotiation of two-way calls in the hellos."""

import pytest

from shared.protocol.events import Agreed, Ended, State
from shared.protocol.message_format import pack_message, parse_message
from shared.protocol.messages import Hello
from tests.shared.session_pair import TERMS, ConnectionPair, reconnected


def agreements(pair: ConnectionPair) -> tuple[list[bool], list[bool]]:
    """Return what each side was told, for each connection."""
    sides = pair.sender_events, pair.receiver_events
    ours, theirs = ([event.both for event in side if isinstance(event, Agreed)] for side in sides)
    return ours, theirs


@pytest.mark.parametrize(("offers", "wants"), [(True, True), (True, False), (False, True), (False, False)])
def test_it_is_where_one_offers_and_the_other_wants(offers: bool, wants: bool) -> None:
    pair = ConnectionPair(offers_both=offers, wants_both=wants)
    pair.settle()
    both = offers and wants
    assert agreements(pair) == ([both], [both])
    assert pair.sender.state is pair.receiver.state is State.STREAMING


def test_it_still_is_over_another_connection() -> None:
    pair = ConnectionPair(offers_both=True, wants_both=True)
    pair.settle()
    reconnected(pair)
    assert agreements(pair)[0] == [True, True]
    assert pair.receiver.sends_back


def test_a_receiver_may_not_send_what_was_not_offered() -> None:
    pair = ConnectionPair()
    (ended,) = pair.to_sender(Hello(TERMS, both=True))
    assert isinstance(ended, Ended)
    assert "not offered" in ended.reason


def test_a_one_way_call_does_not_know_the_word() -> None:
    """So that readers which refuse what they do not know take its hellos, and not a byte is added."""
    pair = ConnectionPair()
    (hello,) = pair.sender.outgoing()
    assert b"both" not in hello
    assert parse_message(pack_message(Hello(TERMS, both=True))) == Hello(TERMS, both=True)
