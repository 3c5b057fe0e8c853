"""Targets of `bench fuzz --transport` below a call's messages: SCTP, and the ports of a connection."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from struct import pack
from typing import Any

from bench.fuzz.fuzz_inputs import Chance, Corpus, sctp_chunks
from shared.errors import KeycastError
from shared.transport.aiortc_patches import MAX_DATAGRAM
from shared.transport.datachannel import Link

_FIRST_NUMBER, _PORT = 1000, 5000
_SET_UP = 0.9
_FROM_CORPUS = 0.3
_MAX_CHUNKS = 1177
_SOUNDS = ((111, 0), (111, 5), (200, 0))


class _Memory:
    """Stands for DTLS, ICE and UDP below one side's SCTP."""

    state = "connected"

    def __init__(self, role: str, above: Any) -> None:  # noqa: ANN401
        self._role = role
        self._replaced = above.transport
        self.transport = self._replaced.transport
        self.sent: deque[bytes] = deque()

    async def stop(self) -> None:
        await self._replaced.stop()

    async def _send_data(self, data: bytes) -> None:
        self.sent.append(data)

    def _register_data_receiver(self, _: object) -> None:
        pass

    _unregister_data_receiver = _register_data_receiver


@dataclass
class _Chunks:
    """Takes the place of one chunk, where aiortc makes a packet of it."""

    data: bytes

    def __bytes__(self) -> bytes:
        return self.data


class SctpTarget:
    """A link, mostly with open channels, whose other side sends any chunks under a true checksum."""

    name = "SCTP chunks"

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._corpus = Corpus([sctp_chunks(chance, _FIRST_NUMBER, _FIRST_NUMBER) for _ in range(64)], chance)
        self._other, self._link = Link(), Link()
        self._peer = _in_memory(self._other, "client")
        self._sctp = _in_memory(self._link, "server")
        self._reader: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether it still listens."""
        return self._reader is not None and not self._link.ended

    async def renew(self) -> None:
        """Put another one in its place."""
        await self._link.close()
        self._link = Link()
        self._sctp = _in_memory(self._link, "server")
        self._reader = asyncio.create_task(_read(self._link))
        await self._sctp.start(None, _PORT)
        self._peer._remote_port, self._peer._remote_verification_tag = (
            _PORT,
            self._sctp._local_verification_tag,
        )
        if self._chance.random() < _SET_UP:
            await self._open()

    async def _open(self) -> None:
        """Have the association set up as by a handshake, which is a hundred times as slow."""
        sctp = self._sctp
        sctp._t1_cancel()
        sctp._last_received_tsn = sctp._reconfig_response_seq = _FIRST_NUMBER - 1
        sctp._remote_verification_tag, sctp._ssthresh = 7, 1 << 17
        sctp._set_state(sctp.State.ESTABLISHED)
        await self._link.opened()
        for n in range(8):
            self._link.send_ctl(bytes([n]))
        await asyncio.sleep(0)

    def input(self) -> bytes:
        """Return what to send next."""
        if self._chance.random() < _FROM_CORPUS:
            return self._corpus.next(_MAX_CHUNKS)
        received = self._sctp._last_received_tsn or _FIRST_NUMBER
        return sctp_chunks(self._chance, received, self._sctp._last_sacked_tsn)[:_MAX_CHUNKS]

    async def hit(self, data: bytes) -> object:
        """Send `data`, and return what can be seen of how that was taken."""
        sctp, answers = self._sctp, self._sctp.transport.sent
        await self._peer._send_chunk(_Chunks(data))
        await sctp._handle_data(self._peer.transport.sent.popleft())
        held = (sctp._sack_misordered, sctp._inbound_streams, sctp._sent_queue)
        sizes = (len(kept).bit_length() for kept in held)
        self._corpus.learn(data, (self._link.reason, len(answers), sctp._association_state, *sizes))
        answers.clear()
        return self._link.reason

    async def close(self) -> None:
        """Release what it holds."""
        await self._link.close()
        await self._other.close()


def _in_memory(link: Link, role: str) -> Any:  # noqa: ANN401
    """Return a link's SCTP, on memory, which counts from where each other one does."""
    sctp: Any = link._peer.sctp
    sctp.setTransport(_Memory(role, sctp))
    sctp._local_tsn = sctp._reconfig_request_seq = _FIRST_NUMBER
    sctp._last_sacked_tsn = sctp._advanced_peer_ack_tsn = _FIRST_NUMBER - 1
    return sctp


async def _read(link: Link) -> None:
    while await link.recv() is not None:
        pass


class DatagramsTarget:
    """A call over real sockets, to whose ports strangers send. They must not end it."""

    name = "UDP datagrams"

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        attribute = pack("!HH", 0x8028, 4) + bytes(4)
        requests = [
            pack("!HHI12s", kind, len(attribute), 0x2112A442, chance.bytes(12)) + attribute
            for kind in (0x0001, 0x0101, 0x0111, 0x0011)
        ]
        records = [pack("!BHHIHH", kind, 0xFEFD, 0, 0, 1, 40) + bytes(40) for kind in (20, 21, 22, 23, 25)]
        sounds = [
            pack("!BBHII", 0x80, kind, 1, 1, source) + bytes(40) for kind in (111, 200) for source in (0, 5)
        ]
        self._corpus = Corpus([b"", *requests, *records, *sounds], chance)
        self._link: Link | None = None
        self._hits = 0

    @property
    def alive(self) -> bool:
        """Whether it still listens."""
        return self._link is not None

    async def renew(self) -> None:
        """Put another one in its place."""
        self._other, self._link = Link(voice=True), Link(voice=True)
        await self._other.accept(await self._link.answer(await self._other.offer()))
        await self._other.opened()
        await self._link.opened()
        ice: Any = self._link._peer.sctp.transport.transport  # type: ignore[union-attr]
        self._ports = list(ice._connection._protocols)

    def input(self) -> bytes:
        """Return what to send next."""
        return self._corpus.next(2 * MAX_DATAGRAM)

    async def hit(self, data: bytes) -> object:
        """Send `data`, and return what can be seen of how that was taken."""
        assert self._link is not None
        self._hits += 1
        for port in self._ports:
            port.datagram_received(data, ("127.0.0.1", 9))
        if self._link.ended:
            raise KeycastError(f"A stranger's datagram ended a call: {data.hex()}.")
        if self._hits % 1000 == 0:
            # In between, the call goes on.
            await asyncio.sleep(0.01)
            self._other.send_ctl(b"still here")
            await asyncio.wait_for(self._link.recv(), 10)
        seen = self._link.wire_sent // 100, data[:1]
        self._corpus.learn(data, data[:1])
        return seen[1]

    async def close(self) -> None:
        """Release what it holds."""
        if self._link is not None:
            await self._link.close()
            await self._other.close()
