"""Peers and strangers who mean harm, over real sockets on this machine."""

import asyncio
import itertools
import random
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from aiortc.rtcsctptransport import tsn_plus_one

from shared.constants import MAX_PACKET
from shared.errors import KeycastError
from shared.transport import aiortc_patches
from shared.transport.datachannel import Link
from shared.transport.sctp_limits import MAX_GAPS, MAX_HELD_BYTES, MAX_HELD_CHUNKS
from tests.integration.hostile import (
    CTL,
    FIRST,
    KP,
    LAST,
    UNORDERED,
    RawPeer,
    Through,
    received,
    sctp_packet,
    udp_addresses,
)

pytestmark = pytest.mark.slow


def from_a_stranger(link: Link, datagrams: list[bytes]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for address in udp_addresses(link):
            for datagram in datagrams:
                stranger.sendto(datagram, address)


def stun(kind: int, *attributes: tuple[int, bytes]) -> bytes:
    body = b"".join(
        struct.pack("!HH", number, len(value)) + value + bytes(-len(value) % 4)
        for number, value in attributes
    )
    return struct.pack("!HHI12s", kind, len(body), 0x2112A442, b"x" * 12) + body


def junk() -> list[bytes]:
    dice = random.Random(5)
    every_first_byte = [bytes([first]) + dice.randbytes(dice.randint(0, 60)) for first in range(256)]
    short_attributes = [
        stun(kind, (number, b"\xff" * length))
        for kind in (0x0001, 0x0101, 0x0111, 0x0011)
        for number in (1, 3, 6, 9, 0x0C, 0x0D, 0x20, 0x24, 0x8028, 0x802A)
        for length in (0, 1, 2)
    ]
    return [b"", *every_first_byte, *short_attributes, stun(0x0001), stun(0x0001, (6, b"a:b"))]


async def test_what_strangers_send_to_the_port_changes_nothing(call_through: Through) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with call_through() as call:
        from_a_stranger(call.receiver, junk())
        from_a_stranger(call.sender, junk())
        await asyncio.sleep(0.2)
        for one, other in ((call.sender, call.receiver), (call.receiver, call.sender)):
            one.send_ctl(b"still here")
            assert await received(other) == ("ctl", b"still here")
    assert complaints == []


async def test_a_strangers_flood_fills_no_memory(call_through: Through) -> None:
    async with call_through() as call:
        waiting = call.receiver._peer.sctp.transport.transport._connection._queue
        most = 0
        for _ in range(60):
            from_a_stranger(call.receiver, [b"\x17" + bytes(60)] * 100)
            # All that is in the socket is read in one go, without the task that empties the queue.
            await asyncio.sleep(0)
            most = max(most, waiting.qsize())
        assert most <= aiortc_patches.MAX_UNREAD
        await asyncio.sleep(0.2)
        call.sender.send_ctl(b"still here")
        assert await received(call.receiver) == ("ctl", b"still here")


async def until_ended(call: Any, sends: Iterator[tuple[int, int, bytes, int]], pause_every: int = 50) -> int:
    """Send until the receiver's end has closed; return how many chunks that took."""
    peer, before = RawPeer(call.sender), call.receiver.pieces_received
    for count, (flags, stream, data, skip) in enumerate(sends):
        try:
            await peer.send(flags, stream, data, skip=skip)
        except ConnectionError:
            return count
        if count % pause_every == 0:
            await caught_up(call.receiver, before + count + 1)
        if call.receiver.ended:
            return count
        assert count < 20_000
    raise AssertionError("nobody sends for ever")


async def caught_up(link: Link, pieces: int) -> None:
    """Wait until so many have come: nobody sends them again, and a busy machine's sockets are soon full."""
    for _ in range(2000):
        if link.ended or link.pieces_received >= pieces:
            return
        await asyncio.sleep(0.01)


def held(link: Link) -> int:
    streams = link._peer.sctp._inbound_streams.values()  # type: ignore[union-attr]
    return sum(len(chunk.user_data) for stream in streams for chunk in stream.reassembly)


@pytest.mark.parametrize("first", [FIRST, FIRST | UNORDERED, 0, UNORDERED])
async def test_fragments_without_an_end_end_the_link(call_through: Through, first: int) -> None:
    async with call_through() as call:
        flags = itertools.chain([first], itertools.repeat(first & UNORDERED))
        count = await until_ended(call, ((flag, CTL, bytes(1000), 0) for flag in flags))
        assert "fragments of messages that it never completes" in call.receiver.reason
        assert held(call.receiver) <= MAX_HELD_BYTES + 2000
        # Some are lost where a socket's buffer is full.
        assert count < 10 * MAX_HELD_BYTES / 1000


async def test_small_fragments_without_an_end_end_the_link_too(call_through: Through) -> None:
    async with call_through() as call:
        flags = itertools.chain([FIRST], itertools.repeat(0))
        count = await until_ended(call, ((flag, CTL, b"x", 0) for flag in flags), pause_every=10)
        assert "fragments of messages that it never completes" in call.receiver.reason
        assert count < 10 * MAX_HELD_CHUNKS


async def test_a_keypoint_message_comes_whole(call_through: Through) -> None:
    async with call_through() as call:
        await RawPeer(call.sender).send(FIRST | UNORDERED, KP, b"x")
        assert await received(call.receiver) is None
        assert "keypoint message in fragments" in call.receiver.reason


async def test_gaps_that_are_never_filled_end_the_link(
    call_through: Through, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.transport.sctp_limits.MAX_GAPS", 200)
    assert MAX_GAPS > 200
    async with call_through() as call:
        sends = ((FIRST | LAST | UNORDERED, KP, b"x", 1) for _ in itertools.count())
        assert await until_ended(call, sends, pause_every=10) < 400
        assert "leaves gaps" in call.receiver.reason


async def test_many_streams_end_the_link(call_through: Through) -> None:
    async with call_through() as call:
        sends = ((FIRST, stream, b"x", 0) for stream in itertools.count(10, 2))
        assert await until_ended(call, sends, pause_every=1) < 10
        assert "streams" in call.receiver.reason


@pytest.mark.parametrize("channel", ["kp", "ctl"])
async def test_a_flood_of_messages_ends_the_link(
    call_through: Through, monkeypatch: pytest.MonkeyPatch, channel: str
) -> None:
    # A busy machine may not send as fast as the true bound.
    monkeypatch.setattr("shared.transport.sctp_limits.PER_SECOND", 20.0)
    monkeypatch.setattr("shared.transport.sctp_limits.AT_ONCE", 200.0)
    async with call_through() as call:
        stream, flags = (KP, UNORDERED) if channel == "kp" else (CTL, 0)
        task = asyncio.create_task(drain(call.receiver))
        sends = ((FIRST | LAST | flags, stream, bytes(60), 0) for _ in itertools.count())
        assert await until_ended(call, sends, pause_every=10) < 1000
        assert "floods" in call.receiver.reason
        await task


async def drain(link: Link) -> None:
    while await link.recv() is not None:
        pass


@pytest.mark.parametrize("body", [b"\0\3\0\5\0\0\0\0", b"\3\0\0\6\0\0\0\0", b"\xc0\0\0\5\0\0\0\0"])
async def test_a_packet_that_cannot_be_read_ends_the_link(call_through: Through, body: bytes) -> None:
    async with call_through() as call:
        await RawPeer(call.sender).raw(sctp_packet(call.sender, body))
        assert await received(call.receiver) is None
        assert "cannot be read" in call.receiver.reason


async def test_a_picture_behind_its_lost_first_piece_is_no_attack(call_through: Through) -> None:
    """As much as a call may send at once waits for one chunk, and all of it comes through."""
    async with call_through() as call:
        peer = RawPeer(call.sender)
        sctp: Any = call.sender._peer.sctp
        first, sctp._local_tsn = sctp._local_tsn, tsn_plus_one(sctp._local_tsn)
        before = call.receiver.pieces_received
        for order in range(1, 257):
            await peer.send(FIRST | LAST, CTL, bytes(1080), order=order)
            if order % 16 == 0:
                await caught_up(call.receiver, before + order)
        assert not call.receiver.ended
        assert held(call.receiver) == 256 * 1080
        sctp._local_tsn = first
        await peer.send(FIRST | LAST, CTL, b"the first")
        assert await received(call.receiver) == ("ctl", b"the first")
        for _ in range(256):
            assert await received(call.receiver) == ("ctl", bytes(1080))


async def test_the_wrong_certificate_is_refused() -> None:
    """A man in the middle who changes no fingerprint has no key; one who gives his own is not let in."""
    offering, answering, other = Link(), Link(), Link()
    offer = await offering.offer()
    answer = await answering.answer(offer)
    others = next(
        line for line in (await other.offer()).splitlines() if line.startswith("a=fingerprint:sha-256")
    )
    lines = [others if line.startswith("a=fingerprint:sha-256") else line for line in answer.splitlines()]
    lines = [line for line in lines if not line.startswith("a=fingerprint:sha-") or line == others]
    await offering.accept("\r\n".join(lines) + "\r\n")
    with pytest.raises(KeycastError):
        await offering.opened(3)
    assert not answering.send_kp(bytes(MAX_PACKET))
    for link in (offering, answering, other):
        await link.close()
