"""Single packets of a peer that would take seconds, or for ever; over real sockets on this machine."""

import asyncio
import struct
from typing import Any

import pytest
from aiortc.rtcsctptransport import ForwardTsnChunk, HeartbeatChunk, InitChunk, SackChunk, tsn_plus_one

from shared.transport.datachannel import Link
from tests.integration.hostile import CTL, FIRST, KP, LAST, UNORDERED, RawPeer, Through, busy, received

pytestmark = pytest.mark.slow

SECONDS = 0.1
"""Of processor time in one turn of the loop: far under what the attacks took, far over what is usual."""


def sack(link: Link, gaps: list[tuple[int, int]], *, ahead: int = 0) -> SackChunk:
    """What the sender's end would say to the receiver's `link`: `ahead` numbers past what it has heard."""
    sctp: Any = link._peer.sctp
    chunk = SackChunk()
    chunk.cumulative_tsn = (sctp._last_sacked_tsn + ahead) % 2**32
    chunk.advertised_rwnd = 1 << 20
    chunk.gaps = gaps
    return chunk


async def silenced(call: Any, messages: int) -> None:
    """Have the receiver send `messages` that the sender takes in and never confirms."""

    async def silent() -> None:
        pass

    call.sender._peer.sctp._send_sack = silent
    for n in range(messages):
        call.receiver.send_ctl(bytes([n]))
        assert await received(call.sender) == ("ctl", bytes([n]))
    assert len(call.receiver._peer.sctp._sent_queue) == messages


WIDE = [(1, 0xFFFF)] * 280


@pytest.mark.parametrize(
    ("gaps", "ahead", "reason"),
    [
        (WIDE, 0, "acknowledges the same messages twice"),
        ([(n, n + 10_000) for n in range(1, 250)], 0, "acknowledges the same messages twice"),
        ([(5, 3)], 0, "acknowledges the same messages twice"),
        ([(0, 0)], 0, "acknowledges the same messages twice"),
        ([(1, 0xFFFF)], 0, "never sent"),
        ([(2, 2), (5, 5)], 0, "never sent"),
        ([], 5, "never sent"),
        ([], 2**31 - 1, "never sent"),
    ],
)
async def test_who_confirms_what_was_not_sent_ends_the_link(
    call_through: Through, gaps: list[tuple[int, int]], ahead: int, reason: str
) -> None:
    async with call_through() as call:
        await silenced(call, 4)
        async with busy() as longest:
            await RawPeer(call.sender).chunks(sack(call.receiver, gaps, ahead=ahead))
            assert await received(call.receiver) is None
        assert reason in call.receiver.reason
        assert longest.most < SECONDS


async def test_an_acknowledgement_is_believed_in_any_order_of_its_blocks(call_through: Through) -> None:
    """Where the numbers begin again at 0, aiortc tells the later block first."""
    async with call_through() as call:
        await silenced(call, 6)
        waiting = call.receiver._peer.sctp._sent_queue
        await RawPeer(call.sender).chunks(sack(call.receiver, [(5, 6), (2, 3)]))
        async with asyncio.timeout(60):
            while not any(chunk._acked for chunk in waiting):
                await asyncio.sleep(0.01)
        assert [chunk._acked for chunk in waiting] == [False, True, True, False, True, True]
        # An old one, which came late, changes nothing; nor does one that confirms all.
        await RawPeer(call.sender).chunks(sack(call.receiver, [(4, 0xFFFF)], ahead=-3))
        await RawPeer(call.sender).chunks(sack(call.receiver, [], ahead=6))
        async with asyncio.timeout(60):
            while waiting:
                await asyncio.sleep(0.01)
        assert not call.receiver.ended


async def test_the_numbers_may_begin_again_while_messages_overtake_each_other(call_through: Through) -> None:
    async with call_through() as call:
        peer, sctp = RawPeer(call.sender), call.sender._peer.sctp
        theirs = call.receiver._peer.sctp
        sctp._local_tsn = 2**32 - 2
        theirs._last_received_tsn = 2**32 - 3
        chunks = [peer.data(FIRST | LAST | UNORDERED, KP, bytes([n])) for n in range(5)]
        for n in (3, 1, 2, 4, 0):
            await peer.chunks(chunks[n])
        assert {(await received(call.receiver) or ("", b""))[1][0] for _ in chunks} == set(range(5))
        assert theirs._last_received_tsn == 2
        assert not theirs._sack_misordered


PARAMETERS_FROM = {1: 16, 2: 16, 4: 0, 5: 0, 6: 0, 9: 0, 130: 0}


@pytest.mark.parametrize("kind", PARAMETERS_FROM)
@pytest.mark.parametrize("length", [0, 3, 9])
async def test_a_parameter_of_no_length_or_too_much_ends_the_link(
    call_through: Through, kind: int, length: int
) -> None:
    body = bytes(PARAMETERS_FROM[kind]) + struct.pack("!HHL", 7, length, 0)
    async with call_through() as call:
        await RawPeer(call.sender).chunks(struct.pack("!BBH", kind, 0, 4 + len(body)) + body)
        assert await received(call.receiver) is None
        assert "cannot be read" in call.receiver.reason


@pytest.mark.parametrize(
    "chunks",
    [[HeartbeatChunk()] * 250, [struct.pack("!BBH", 99, 0, 4)] * 250, [SackChunk()] * 5],
    ids=["heartbeats", "unknown", "sacks"],
)
async def test_a_packet_of_very_many_chunks_ends_the_link(call_through: Through, chunks: list[Any]) -> None:
    async with call_through() as call:
        before = call.receiver.wire_sent
        await RawPeer(call.sender).chunks(*chunks)
        assert await received(call.receiver) is None
        assert "too much into one packet" in call.receiver.reason
        assert call.receiver.wire_sent - before < 500


@pytest.mark.parametrize("streams", [range(10, 260), [KP] * 250], ids=["many", "again and again"])
async def test_word_of_abandoned_messages_names_few_streams(call_through: Through, streams: Any) -> None:
    async with call_through() as call:
        chunk = ForwardTsnChunk()
        chunk.cumulative_tsn = tsn_plus_one(call.receiver._peer.sctp._last_received_tsn)
        chunk.streams = [(stream, 1) for stream in streams]
        await RawPeer(call.sender).chunks(chunk)
        assert await received(call.receiver) is None
        assert "streams" in call.receiver.reason
        assert len(call.receiver._peer.sctp._inbound_streams) <= 4


async def test_as_many_gaps_as_there_may_be_cost_little(call_through: Through) -> None:
    """The list of what is missing fits into a packet, and no chunk is compared with all of them."""
    async with call_through() as call:
        peer, theirs = RawPeer(call.sender), call.receiver._peer.sctp
        flags = FIRST | LAST | UNORDERED
        async with busy() as longest:
            for n in range(1000):
                await peer.chunks(peer.data(flags, KP, b"x", skip=1), peer.data(flags, KP, b"x", skip=1))
                if n % 20 == 0:
                    await asyncio.sleep(0.02)
            async with asyncio.timeout(60):
                while len(theirs._sack_misordered) <= 1500:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)
        assert longest.most < SECONDS
        assert not call.receiver.ended
        largest = 0

        async def weigh(chunk: Any) -> None:
            nonlocal largest
            largest = max(largest, len(bytes(chunk)))

        theirs._send_chunk = weigh
        await theirs._send_sack()
        async with asyncio.timeout(60):
            while not largest:
                await asyncio.sleep(0.01)
        assert 200 < largest <= 400


async def test_an_association_is_not_set_up_twice(call_through: Through) -> None:
    async with call_through() as call:
        theirs: Any = call.receiver._peer.sctp
        init = InitChunk()
        init.initiate_tag, init.advertised_rwnd, init.initial_tsn = 7, 1000, 7
        before = theirs._last_received_tsn, theirs._remote_verification_tag
        tag, sctp = theirs._local_verification_tag, call.sender._peer.sctp
        sctp._remote_verification_tag = 0
        await RawPeer(call.sender).chunks(init)
        sctp._remote_verification_tag = tag
        call.sender.send_ctl(b"still here")
        assert await received(call.receiver) == ("ctl", b"still here")
        assert theirs._remote_verification_tag == before[1]


async def test_who_makes_the_other_side_work_too_much_is_cut_off(
    call_through: Through, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few the packets are."""
    monkeypatch.setattr("shared.transport.sctp_limits.WORK_SHARE", 0.0)
    monkeypatch.setattr("shared.transport.sctp_limits.WORK_AT_ONCE", 0.02)
    async with call_through() as call:
        peer = RawPeer(call.sender)
        for _ in range(1000):
            if call.receiver.ended:
                break
            await peer.send(FIRST | LAST, CTL, bytes(1000))
            await asyncio.sleep(0.001)
        assert "too much work" in call.receiver.reason
