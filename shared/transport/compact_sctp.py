"""Fewer bytes for the same call, in a few lines over aiortc's private names.

aiortc answers every packet with an acknowledgement (SACK) of its own, 93 bytes of IP each. Here

- a SACK waits for up to 500 ms, the longest that RFC 9260 (6.2) allows, or until 1100 bytes are
  unacknowledged, which two pieces of a picture are, so that no sender's window runs dry; for gaps among
  messages that nobody repeats 200 ms, and for reliable messages too where no message of our own is to be
  expected; duplicates, and gaps while reliable messages arrive, are reported at once, since a repetition
  waits for them;
- a SACK that waits leaves in the packet of the next message, and so does word of abandoned messages
  (FORWARD-TSN), which waits for up to 200 ms; where keypoint messages leave so often that another one will be
  in time, as in a two-way call, a SACK lets the first one go;
- a short reliable message that is due while keypoint messages leave waits for the next one, for up to 200 ms;
- ChaCha20-Poly1305 is the cipher asked for first: it takes 8 bytes a record less than AES-GCM.

The other side need not do the same, and notices nothing: bundled packets and late SACKs are plain SCTP.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

from aiortc import RTCPeerConnection, rtcsctptransport
from aiortc.rtcsctptransport import Chunk, DataChunk, ForwardTsnChunk, RTCSctpTransport, SackChunk

from shared.transport import aiortc_patches

ACK_SECONDS = 0.5
SOON_SECONDS = 0.2
ACK_BYTES = 1100
_FORWARD_SECONDS = 0.2
OFTEN_SECONDS = 0.3
"""Keypoint messages leave often where the last one did so long ago at most."""
RIPE_SECONDS = 0.25
"""Age of a SACK from which on it rides, where there is a message to ride with every 0.2 s."""
SHORT_BYTES = 64
CLEAR = 5
"""Messages that are not confirmed yet, while none is lost: those of half a second."""
HOLD_SECONDS = 0.2
_RELIABLE_SECONDS = 2.0
_CIPHER = b"ECDHE-ECDSA-CHACHA20-POLY1305"
_OTHER_CIPHERS = b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA"
_UNORDERED, _ACK_NOW, _WHOLE = 0x04, 0x08, 0x03
_COMMON_HEADER = 12
_METHODS = ("_send_chunk", "_send_sack", "_receive_data_chunk")
_FIELDS = (
    "_sack_duplicates", "_sack_misordered", "_sack_needed", "_sent_queue", "_association_state", "State",
)  # fmt: skip


def make_compact(peer: RTCPeerConnection) -> None:
    """Have `peer`, which has a data channel and is not connected yet, use fewer bytes.

    Raise KeycastError where the installed aiortc does not have the names this rests on.
    """
    sctp: Any = peer.sctp
    aiortc_patches.require("aiortc", sctp, (*_METHODS, *_FIELDS))
    aiortc_patches.require("aiortc", sctp.transport, (aiortc_patches.CERTIFICATE,))
    certificate = getattr(sctp.transport, aiortc_patches.CERTIFICATE)
    aiortc_patches.require("aiortc", certificate, (aiortc_patches.CONTEXT,))
    _prefer_short_records(certificate)
    _Compact(sctp)


def _prefer_short_records(certificate: Any) -> None:  # noqa: ANN401
    create = certificate._create_ssl_context

    def with_cipher(*arguments: object, **named: object) -> object:
        context = create(*arguments, **named)
        context.set_cipher_list(_CIPHER + b":" + _OTHER_CIPHERS)
        return context

    certificate._create_ssl_context = with_cipher


class _Bundle:
    """Several chunks that travel as one packet; stands where aiortc expects one chunk."""

    def __init__(self, chunks: list[Chunk]) -> None:
        self._bytes = b"".join(bytes(chunk) for chunk in chunks)

    def __bytes__(self) -> bytes:
        return self._bytes

    @property
    def fits(self) -> bool:
        return _COMMON_HEADER + len(self._bytes) <= rtcsctptransport.SCTP_MAX_PACKET_LENGTH


class _Compact:
    """Takes the place of a transport's own ways to send a SACK and a chunk."""

    def __init__(self, sctp: RTCSctpTransport) -> None:
        self._sctp: Any = sctp
        self._loop = asyncio.get_running_loop()
        self._chunk_out: Callable[[Any], Awaitable[None]] = sctp._send_chunk
        self._sack_out: Callable[[], Awaitable[None]] = sctp._send_sack
        self._data_in: Callable[[DataChunk], Awaitable[None]] = sctp._receive_data_chunk
        self._unacknowledged = 0
        self._at_once = self._soon = False
        self._reliable_until = 0.0
        self._spoke_at = self._kp_at = self._sack_at = -math.inf
        self._held: DataChunk | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sack_waits = False
        self._forward: ForwardTsnChunk | None = None
        self._rider: Chunk | None = None
        self._flushing: asyncio.Task[None] | None = None
        for name, method in zip(_METHODS, (self._send_chunk, self._send_sack, self._receive), strict=True):
            setattr(sctp, name, method)

    async def _receive(self, chunk: DataChunk) -> None:
        """Take a message in, and note how soon it wants its SACK."""
        had_gap = bool(self._sctp._sack_misordered)
        await self._data_in(chunk)
        now = self._loop.time()
        if not chunk.flags & _UNORDERED:
            self._soon = True
            self._reliable_until = now + _RELIABLE_SECONDS
        gap = had_gap or bool(self._sctp._sack_misordered)
        self._unacknowledged += len(chunk.user_data)
        if self._sctp._sack_duplicates or chunk.flags & _ACK_NOW or (gap and now < self._reliable_until):
            self._at_once = True

    async def _send_sack(self) -> None:
        """Send the SACK now, or have it wait for something to travel with."""
        if not self._sack_waits:
            self._sack_waits, self._sack_at = True, self._loop.time()
        if self._at_once or self._unacknowledged >= ACK_BYTES:
            await self._flush()
            return
        self._sctp._sack_needed = False
        # One that speaks often takes it along without a packet of its own.
        alone = self._soon and self._loop.time() - self._spoke_at > ACK_SECONDS
        self._wait(SOON_SECONDS if alone or self._sctp._sack_misordered else ACK_SECONDS)

    async def _send_chunk(self, chunk: Chunk) -> None:
        if isinstance(chunk, DataChunk) and self._may_wait(chunk):
            self._held = chunk
            self._wait(HOLD_SECONDS)
            return
        rides = self._rides
        if isinstance(chunk, DataChunk):
            self._spoke_at = self._loop.time()
            self._kp_at = self._spoke_at if chunk.flags & _UNORDERED else self._kp_at
        if isinstance(chunk, ForwardTsnChunk):
            self._forward = chunk
            self._wait(_FORWARD_SECONDS)
        elif isinstance(chunk, SackChunk):
            rider, self._rider = self._rider, None
            await self._together(chunk, self._taken_forward(), self._taken_held(), rider)
        elif isinstance(chunk, DataChunk) and self._sack_waits and rides:
            self._rider = chunk
            await self._flush()
        elif isinstance(chunk, DataChunk):
            await self._together(self._taken_forward(), self._taken_held(), chunk)
        else:
            await self._chunk_out(chunk)

    @property
    def _often(self) -> bool:
        return self._loop.time() - self._kp_at <= OFTEN_SECONDS

    @property
    def _rides(self) -> bool:
        """Whether a SACK that waits leaves with the next message, or has time until the one after it."""
        if self._soon or not self._often or self._sctp._sack_misordered:
            return True
        return self._loop.time() - self._sack_at >= RIPE_SECONDS

    def _may_wait(self, chunk: DataChunk) -> bool:
        """Say whether a message may wait for the next one. Of two that would, neither does.

        Where others are lost, each tells the other side of them, and its acknowledgement this one.
        """
        short = chunk.flags & (_UNORDERED | _WHOLE) == _WHOLE and len(chunk.user_data) <= SHORT_BYTES
        return short and self._held is None and self._often and len(self._sctp._sent_queue) <= CLEAR

    async def _together(self, *given: Chunk | None) -> None:
        """Send chunks as one packet, or each alone where they do not fit one."""
        chunks = [chunk for chunk in given if chunk is not None]
        bundle = _Bundle(chunks)
        for one in [bundle] if len(chunks) > 1 and bundle.fits else chunks:
            await self._chunk_out(one)

    def _taken_forward(self) -> ForwardTsnChunk | None:
        forward, self._forward = self._forward, None
        return forward

    def _taken_held(self) -> DataChunk | None:
        held, self._held = self._held, None
        return held

    def _wait(self, seconds: float) -> None:
        """Let what waits leave by itself after `seconds` at the latest."""
        when = self._loop.time() + seconds
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._expired)

    def _expired(self) -> None:
        self._timer = None
        if self._sctp._association_state is self._sctp.State.ESTABLISHED:
            self._flushing = self._loop.create_task(self._flush_alone())

    async def _flush_alone(self) -> None:
        try:
            await self._flush()
        except ConnectionError:
            # The connection has just been closed; nobody waits for the SACK any more.
            return

    async def _flush(self) -> None:
        """Send what waits: SACK, word of abandoned messages, a short one, and what takes them along."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._unacknowledged, self._at_once, self._soon = 0, False, False
        if self._sack_waits:
            self._sack_waits = False
            await self._sack_out()  # comes back to _send_chunk with the SACK
        else:
            await self._together(self._taken_forward(), self._taken_held())
