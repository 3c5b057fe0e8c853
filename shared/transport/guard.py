"""What a peer may send below its messages: SCTP packets and chunks, over aiortc's private names.

aiortc puts no bound on fragments of a message that never ends, on gaps in the numbering, on streams, nor on
how fast any of it comes; and a packet that it cannot read ends the connection with a traceback. Here each of
these ends it with a reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiortc import RTCPeerConnection
from aiortc.rtcsctptransport import Chunk, DataChunk

from shared.arrivals import Arrivals
from shared.config import MAX_PICTURE_BYTES
from shared.limits import RateLimit

MAX_HELD_BYTES = 2 * MAX_PICTURE_BYTES
"""Of what waits for more: a whole picture may, behind its lost first piece."""
MAX_HELD_CHUNKS = 1024
MAX_GAPS = 4096
"""Chunks that came ahead of a missing one: half a minute at the fastest that the session takes."""
MAX_STREAMS = 4
PER_SECOND, AT_ONCE = 1000.0, 3000.0
"""Packets and chunks: ten times what the fastest sender needs."""
_WHOLE = 0x03  # the first and the last fragment of its message
_NAMES = ("_handle_data", "_receive_chunk", "_inbound_streams", "_advertised_rwnd", "_sack_misordered")


def guard(
    peer: RTCPeerConnection, unfragmented: int, refuse: Callable[[str], None], arrivals: Arrivals
) -> bool:
    """Have `refuse` called, with one sentence, as soon as the other side is over a bound; once at most.

    From then on nothing that it sends is looked at. Stream `unfragmented` carries whole messages only;
    `arrivals` counts the chunks that carry messages. False, and nothing is changed, where the installed
    aiortc does not have the names this rests on.
    """
    sctp = peer.sctp
    if sctp is None or not all(hasattr(sctp, name) for name in _NAMES):
        return False
    _Guard(sctp, unfragmented, refuse, arrivals)
    return True


class _Guard:
    """Stands before a transport's own handling of packets and chunks."""

    def __init__(
        self,
        sctp: Any,  # noqa: ANN401
        unfragmented: int,
        refuse: Callable[[str], None],
        arrivals: Arrivals,
    ) -> None:
        self._sctp = sctp
        self._arrivals = arrivals
        self._unfragmented = unfragmented
        self._refuse = refuse
        self._packet_in, self._chunk_in = sctp._handle_data, sctp._receive_chunk
        self._window = sctp._advertised_rwnd
        self._limit = RateLimit(PER_SECOND, AT_ONCE)
        self._loop = asyncio.get_running_loop()
        self._over = False
        sctp._handle_data, sctp._receive_chunk = self._handle_data, self._receive_chunk

    async def _handle_data(self, data: bytes) -> None:
        if not self._allows():
            return
        try:
            await self._packet_in(data)
        except ConnectionError:
            raise
        # On malformed packets aiortc raises nearly anything: struct.error, AssertionError, IndexError, ...
        except Exception:
            self._end("The other side sent a packet that cannot be read.")

    async def _receive_chunk(self, chunk: Chunk) -> None:
        if not self._allows():
            return
        if not isinstance(chunk, DataChunk):
            await self._chunk_in(chunk)
            return
        self._arrivals.came(chunk.tsn)
        if chunk.stream_id == self._unfragmented and chunk.flags & _WHOLE != _WHOLE:
            self._end("The other side sent a keypoint message in fragments.")
        else:
            await self._chunk_in(chunk)
            self._check_held()

    def _allows(self) -> bool:
        if not self._over and not self._limit.allows(self._loop.time()):
            self._end("The other side floods the connection with packets.")
        return not self._over

    def _check_held(self) -> None:
        streams = self._sctp._inbound_streams
        if len(streams) > MAX_STREAMS:
            self._end(f"The other side uses over {MAX_STREAMS} streams.")
        elif (
            self._window - self._sctp._advertised_rwnd > MAX_HELD_BYTES
            or sum(len(stream.reassembly) for stream in streams.values()) > MAX_HELD_CHUNKS
        ):
            self._end("The other side sends fragments of messages that never end.")
        elif len(self._sctp._sack_misordered) > MAX_GAPS:
            self._end("The other side leaves gaps in what it sends and never fills them.")

    def _end(self, reason: str) -> None:
        if not self._over:
            self._over = True
            self._refuse(reason)
