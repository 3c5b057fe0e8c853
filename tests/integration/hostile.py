"""Helpers for tests of hostile peers: a sender that speaks SCTP chunk by chunk, a stopwatch for the loop."""

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiortc.rtcsctptransport import DataChunk, tsn_plus_one
from google_crc32c import value as crc32c

from shared.transport.datachannel import Link

FIRST, LAST, UNORDERED = 0x02, 0x01, 0x04
KP, CTL = 0, 2
BINARY = 53
Through = Callable[..., AbstractAsyncContextManager[Any]]


async def received(link: Link) -> tuple[str, bytes] | None:
    return await asyncio.wait_for(link.recv(), 20)


def udp_addresses(link: Link) -> list[tuple[str, int]]:
    candidates = [
        line.split() for line in link._peer.localDescription.sdp.splitlines() if "a=candidate" in line
    ]
    addresses = [(parts[4], int(parts[5])) for parts in candidates if ":" not in parts[4]]
    assert addresses
    return addresses


def sctp_packet(link: Link, body: bytes) -> bytes:
    """A packet to the other end of `link` that holds the chunks `body`."""
    sctp: Any = link._peer.sctp
    header = struct.pack("!HHL", sctp._local_port, sctp._remote_port, sctp._remote_verification_tag)
    return header + struct.pack("<L", crc32c(header + bytes(4) + body)) + body


class RawPeer:
    """The sending end of a call, speaking SCTP chunk by chunk."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._sctp: Any = link._peer.sctp

    async def send(self, flags: int, stream: int, data: bytes, *, skip: int = 0, order: int = 0) -> None:
        await self._sctp._send_chunk(self.data(flags, stream, data, skip=skip, order=order))

    def data(self, flags: int, stream: int, data: bytes, *, skip: int = 0, order: int = 0) -> DataChunk:
        sctp = self._sctp
        for _ in range(skip):
            sctp._local_tsn = tsn_plus_one(sctp._local_tsn)
        chunk = DataChunk(flags)
        chunk.tsn, chunk.stream_id, chunk.stream_seq, chunk.protocol = sctp._local_tsn, stream, order, BINARY
        chunk.user_data = data
        sctp._local_tsn = tsn_plus_one(sctp._local_tsn)
        return chunk

    async def chunks(self, *chunks: Any) -> None:
        """Send `chunks`, or their bytes, as one packet."""
        await self.raw(sctp_packet(self._link, b"".join(bytes(chunk) for chunk in chunks)))

    async def raw(self, packet: bytes) -> None:
        await self._sctp.transport._send_data(packet)


@dataclass
class Busy:
    """The most processor seconds of this thread between two turns of the event loop."""

    most: float = 0.0


@asynccontextmanager
async def busy() -> AsyncIterator[Busy]:
    """Measure while the block runs. Processor time, since other processes are not the loop's doing."""
    longest = Busy()

    async def tick() -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            longest.most = max(longest.most, time.thread_time() - before)

    task = asyncio.create_task(tick())
    try:
        yield longest
    finally:
        task.cancel()
