"""Picture transfer beyond the sessions' tests: sizes, order and pace of the chunks themselves."""

from itertools import pairwise

import pytest

from bench.network.memory_link import MESSAGE_OVERHEAD
from shared.constants import MAX_PICTURE_BYTES, PICTURE_CHUNK
from shared.errors import PeerError
from shared.protocol.message_format import pack_message
from shared.protocol.messages import SourceChunk
from shared.protocol.picture_transfer import (
    MESSAGE_BYTES,
    PACE_KBPS,
    PictureAssembler,
    PictureSender,
    wire_bytes,
)


def feed(picture: bytes = bytes(3000), slot: int = 2) -> PictureSender:
    made = PictureSender()
    made.begin(slot, picture)
    return made


@pytest.mark.parametrize("size", [1, PICTURE_CHUNK, PICTURE_CHUNK + 1, 7000])
def test_a_picture_costs_what_is_said(size: int) -> None:
    sent = feed(bytes(size))
    chunks = sent.at_once()
    real = sum(len(pack_message(chunk, short=True)) + MESSAGE_OVERHEAD - 8 for chunk in chunks)
    assert sent.tally.picture_wire_bytes == wire_bytes(size)
    assert real == pytest.approx(wire_bytes(size), abs=6 * len(chunks))


def test_every_chunk_is_one_packet() -> None:
    piece, at = bytes(PICTURE_CHUNK), MAX_PICTURE_BYTES - PICTURE_CHUNK
    last = SourceChunk(2**16, 7, MAX_PICTURE_BYTES, at, piece, alone=True)
    assert len(pack_message(last)) <= 1160


def test_chunks_leave_at_the_pace() -> None:
    sent = feed(bytes(10 * PICTURE_CHUNK))
    moments = [tick / 100 for tick in range(1500) if sent.next(tick / 100) is not None]
    assert len(moments) == 10
    between = (PICTURE_CHUNK + MESSAGE_BYTES) * 8 / (1000 * PACE_KBPS)
    for earlier, later in pairwise(moments):
        assert between <= later - earlier <= between + 0.011


def test_a_pause_is_not_made_up_for() -> None:
    sent = feed()
    assert sent.next(0.0) is not None
    assert sent.next(100.0) is not None
    assert sent.next(100.1) is None


def test_the_next_begins_when_the_one_before_is_there() -> None:
    sent = feed()
    with pytest.raises(ValueError, match="under way"):
        sent.begin(1, b"x")
    with pytest.raises(PeerError, match="never sent"):
        sent.confirm(0)
    chunks = sent.at_once()
    assert {(chunk.picture, chunk.slot, chunk.total) for chunk in chunks} == {(0, 2, 3000)}
    assert not sent.idle
    sent.confirm(0)
    sent.confirm(0)
    assert sent.tally.pictures == 1
    sent.begin(1, b"x")
    assert sent.at_once() == [SourceChunk(1, 1, 1, 0, b"x")]


@pytest.mark.parametrize(
    ("slot", "picture"), [(-1, b"x"), (8, b"x"), (0, b""), (0, bytes(MAX_PICTURE_BYTES + 1))]
)
def test_mistakes_of_ours_are_told(slot: int, picture: bytes) -> None:
    with pytest.raises(ValueError, match=r"slot|bytes"):
        PictureSender().begin(slot, picture)


def test_what_is_asked_for_again_is_what_the_slot_holds() -> None:
    sent = feed(b"old", slot=1)
    sent.at_once()
    sent.confirm(0)
    sent.begin(1, b"new")
    sent.at_once()
    sent.again(1)
    sent.again(1)
    assert sent.next(0.0) == SourceChunk(2, 1, 3, 0, b"new")
    # A confirmation that crossed the question is no mistake.
    sent.confirm(1)
    sent.confirm(2)
    assert sent.idle


def test_a_picture_that_is_alone_takes_the_place_of_all() -> None:
    sent = feed(b"old", slot=0)
    for number, slot in enumerate((0, 1, 2)):
        if slot:
            sent.begin(slot, b"old")
        sent.at_once()
        sent.confirm(number)
    sent.begin(0, b"new", alone=True)
    (chunk,) = sent.at_once()
    assert chunk == SourceChunk(3, 0, 3, 0, b"new", alone=True)
    # What the receiver asked for before it knew is not sent any more; what never was is still a lie.
    sent.again(2)
    sent.confirm(3)
    assert sent.idle
    with pytest.raises(PeerError, match="slot 5"):
        sent.again(5)
    sent.begin(1, b"more")
    assert not sent.at_once()[0].alone
    sent.confirm(4)
    sent.again(0)
    again = sent.next(0.0)
    assert again is not None
    assert not again.alone
    sent.confirm(5)
    sent.give(b"first")
    assert [chunk.data for chunk in sent.at_once()] == [b"new"]


def test_an_assembler_returns_the_whole_picture() -> None:
    picture = bytes(range(256)) * 20
    taken = [PictureAssembler().take(chunk, 0.0) for chunk in feed(picture[:500], slot=0).at_once()]
    assert taken == [picture[:500]]
    assembler = PictureAssembler()
    *unfinished, whole = [assembler.take(chunk, 0.0) for chunk in feed(picture, slot=0).at_once()]
    assert unfinished == [None] * 4
    assert whole == picture


def test_the_first_picture_goes_to_the_first_slot() -> None:
    with pytest.raises(PeerError, match="out of order"):
        PictureAssembler().take(SourceChunk(0, 1, 3, 0, b"abc"), 0.0)
