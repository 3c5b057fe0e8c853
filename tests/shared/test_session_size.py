"""The size of source pictures in a call's sessions: offered, taken or not, and kept to."""

import msgpack
import numpy as np
import pytest

from shared.codec.keypoint_codec import PaperCodec
from shared.constants import SIZES
from shared.errors import PeerError
from shared.media import picture as pictures
from shared.protocol.events import Ended, SourcePicture, State
from shared.protocol.message_format import pack_message, parse_message
from shared.protocol.messages import Bye, Hello, SourceChunk, Want
from shared.protocol.receiver_session import ReceiverSession
from shared.protocol.sender_session import LargerPicture
from tests.shared.session_pair import (
    BINDING,
    PICTURE,
    PROOF,
    SECRET,
    SMALL,
    TERMS,
    ConnectionPair,
    let_pass,
    only_bye,
    reconnected,
    slots,
)

LARGE = pictures.encode(np.full((512, 512, 3), 90, np.uint8))
LARGER = LargerPicture(512, LARGE)


def offering(sizes: tuple[int, ...] = SIZES, avatar: bool = False) -> ConnectionPair:
    pair = ConnectionPair(larger=LARGER, sizes=sizes, avatar=avatar)
    pair.settle()
    return pair


def came(pair: ConnectionPair) -> list[bytes]:
    return [event.data for event in pair.receiver_events if isinstance(event, SourcePicture)]


def test_pictures_are_as_large_as_both_sides_know_them() -> None:
    pair = offering()
    assert pair.sender.state is pair.receiver.state is State.STREAMING
    assert (pair.sender.picture_size, pair.receiver.picture_size) == (512, 512)
    assert came(pair) == [LARGE]
    assert pair.sender.send_picture(3, LARGE)
    let_pass(pair, 60)
    assert (came(pair), slots(pair)) == ([LARGE, LARGE], [0, 3])


@pytest.mark.parametrize(("sizes", "avatar"), [((), False), ((256, 384), False), (SIZES, True)])
def test_a_receiver_that_knows_no_such_size_gets_the_usual_one(sizes: tuple[int, ...], avatar: bool) -> None:
    pair = offering(sizes, avatar)
    assert pair.sender.state is pair.receiver.state is State.STREAMING
    assert (pair.sender.picture_size, pair.receiver.picture_size) == (256, 256)
    assert came(pair) == ([] if avatar else [PICTURE])


def test_an_older_receiver_leaves_out_what_it_does_not_know() -> None:
    pair = ConnectionPair(larger=LARGER, sizes=SIZES)
    (data,) = pair.sender.outgoing()
    assert parse_message(data) == Hello(TERMS, size=512)
    pair.to_sender(Hello(TERMS))
    assert pair.sender.picture_size == 256
    pieces = [parse_message(piece) for piece in pair.sender.outgoing()]
    assert b"".join(piece.data for piece in pieces if isinstance(piece, SourceChunk)) == PICTURE


def test_a_hello_of_usual_pictures_does_not_know_the_word() -> None:
    plain = pack_message(Hello(TERMS))
    assert "size" not in msgpack.unpackb(plain)
    assert parse_message(pack_message(Hello(TERMS, size=384))) == Hello(TERMS, size=384)
    assert msgpack.unpackb(pack_message(Hello(TERMS, size=384))) == msgpack.unpackb(plain) | {"size": 384}


@pytest.mark.parametrize("size", [-1, 4097, 2**40, 512.0, "512", None, True, b"512", {}])
def test_a_strange_size_is_refused(size: object) -> None:
    body = msgpack.unpackb(pack_message(Hello(TERMS))) | {"size": size}
    with pytest.raises(PeerError, match="hello message's size"):
        parse_message(msgpack.packb(body))


@pytest.mark.parametrize("size", [1, 2, 255, 257, 300, 511, 513, 1024, 4096])
def test_a_size_that_no_network_knows_is_not_taken(size: int) -> None:
    pair = ConnectionPair(sizes=SIZES)
    pair.to_receiver(Hello(TERMS, size=size))
    (answer,) = (parse_message(data) for data in pair.receiver.outgoing())
    assert isinstance(answer, Hello)
    assert (answer.size, pair.receiver.picture_size) == (0, 256)


@pytest.mark.parametrize("size", [384, 256, 1])
def test_a_size_that_was_not_offered_cannot_be_taken(size: int) -> None:
    pair = ConnectionPair(larger=LARGER)
    (ended,) = pair.to_sender(Hello(TERMS, size=size))
    assert isinstance(ended, Ended)
    assert "was not offered" in ended.reason
    assert not pair.sender.tally.picture_bytes


@pytest.mark.parametrize(("agreed", "data"), [((), LARGE), (SIZES, PICTURE)])
def test_a_picture_of_another_size_than_agreed_ends_the_call(agreed: tuple[int, ...], data: bytes) -> None:
    pair = ConnectionPair(sizes=agreed)
    pair.to_receiver(Hello(TERMS, size=512))
    pair.receiver.outgoing()
    for offset in range(0, len(data), 1024):
        events = pair.to_receiver(SourceChunk(0, 0, len(data), offset, data[offset : offset + 1024]))
    (ended,) = events
    assert isinstance(ended, Ended)
    assert ended.reason.endswith("not 512x512." if agreed else "not 256x256.")
    assert not only_bye(pair.receiver).ok


def test_a_further_picture_of_another_size_is_asked_for_again() -> None:
    pair = offering()
    events = pair.to_receiver(SourceChunk(1, 4, len(SMALL), 0, SMALL))
    assert events == []
    assert [parse_message(data) for data in pair.receiver.outgoing()] == [Want(4)]


def test_a_call_goes_on_at_its_size_over_another_connection() -> None:
    pair = offering()
    reconnected(pair)
    assert pair.sender.state is pair.receiver.state is State.STREAMING
    assert (pair.sender.picture_size, pair.receiver.picture_size) == (512, 512)
    assert came(pair) == [LARGE]


@pytest.mark.parametrize("size", [0, 384])
def test_who_comes_back_with_another_size_does_not_take_the_call_up(size: int) -> None:
    pair = offering()
    assert pair.receiver.matches(Hello(TERMS, secret=PROOF, size=512), BINDING)
    assert not pair.receiver.matches(Hello(TERMS, secret=PROOF, size=size), BINDING)


def test_a_new_receiver_may_take_another_size_and_gets_none_of_the_pictures_before() -> None:
    pair = offering()
    assert pair.sender.send_picture(3, LARGE)
    let_pass(pair, 60)
    pair.receiver_events.clear()
    reconnected(pair, ReceiverSession(TERMS, {"paper": PaperCodec(60)}, False, "hold", SECRET[::-1]))
    let_pass(pair, 60)
    assert pair.sender.picture_size == 256
    assert came(pair) == [PICTURE]
    pair.receiver_events.clear()
    again = ReceiverSession(TERMS, {"paper": PaperCodec(60)}, False, "hold", SECRET, sizes=SIZES)
    reconnected(pair, again)
    let_pass(pair, 60)
    assert came(pair) == [LARGE]


def test_a_receiver_that_holds_the_call_cannot_change_its_size() -> None:
    pair = offering()
    pair.sender.restart(BINDING)
    proof = pair.sender._proof
    (ended,) = pair.to_sender(Hello(TERMS, secret=proof))
    assert isinstance(ended, Ended)
    assert "another size" in ended.reason
    assert isinstance(parse_message(pair.sender.outgoing()[-1]), Bye)
