"""Limits on what a peer may send below its messages: SCTP packets and chunks, over aiortc's private names.

aiortc puts no bound on fragments of a message that never ends, on gaps in the numbering, on streams, nor on
how fast any of it comes and what work it makes; and a packet that it cannot read ends the connection with a
traceback. Here each of these ends it with a reason.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Any

from aiortc import RTCPeerConnection
from aiortc.rtcsctptransport import (
    Chunk,
    DataChunk,
    ForwardTsnChunk,
    InboundStream,
    InitAckChunk,
    InitChunk,
    ReconfigChunk,
    SackChunk,
    ShutdownChunk,
)
from OpenSSL import SSL

from shared.constants import MAX_PICTURE_BYTES
from shared.errors import PeerError
from shared.protocol.arrivals import SequenceTracker
from shared.protocol.limits import RateLimit, WorkLimit
from shared.transport import aiortc_patches
from shared.transport.aiortc_patches import Traffic
from shared.transport.chunks import MAX_STREAMS, check_forward, check_packet, check_sack
from shared.transport.received import Received

MAX_HELD_BYTES = 2 * MAX_PICTURE_BYTES
"""Of what waits for more: a whole picture may, behind its lost first piece."""
MAX_HELD_CHUNKS = 1024
MAX_GAPS = 2048
"""Chunks that came ahead of a missing one: a quarter of a minute at the fastest that the session takes."""
PER_SECOND, AT_ONCE = 1000.0, 3000.0
"""Packets and chunks: ten times what the fastest sender needs."""
WORK_SHARE, WORK_AT_ONCE = 0.3, 1.0
"""Seconds of work for them, of each second and at once: a call takes 0.02."""
LONGEST = 0.005
"""Seconds that a packet counts for at most. Where it takes longer, the machine had something else to do."""
_WHOLE = 0x03  # the first and the last fragment of its message
_NAMES = (
    "_advertised_rwnd", "_association_state", "_data_channel_queue", "_handle_data", "_inbound_streams",
    "_last_received_tsn", "_last_sacked_tsn", "_local_tsn", "_mark_received", "_outbound_queue",
    "_receive_chunk", "_sack_duplicates", "_sack_misordered", "_sack_needed", "_send_chunk", "_send_sack",
    "_sent_queue", "State",
)  # fmt: skip


def limit_sctp(
    peer: RTCPeerConnection,
    unfragmented: Collection[int],
    refuse: Callable[[str], None],
    arrivals: SequenceTracker,
    traffic: Traffic,
) -> SctpLimiter:
    """Have `refuse` called, with one sentence, as soon as the other side is over a bound; once at most.

    With "" where the other side shuts the association down, in order.

    From then on nothing that it sends is looked at. Streams `unfragmented` carry whole messages only;
    `arrivals` counts the chunks that carry messages, `traffic` the bytes of packets. To be called before
    anything else takes the place of a method of the transport of `peer`, which has a data channel. Raise
    KeycastError where the installed aiortc does not have the names this rests on: without these limits there
    are no calls.
    """
    sctp: Any = peer.sctp
    aiortc_patches.require("aiortc", sctp, _NAMES)
    aiortc_patches.require("aiortc", InboundStream(), ("reassembly",))
    aiortc_patches.require("aiortc", sctp.transport, (aiortc_patches.CERTIFICATE, "_send_data"))
    certificate = getattr(sctp.transport, aiortc_patches.CERTIFICATE)
    aiortc_patches.require("aiortc", certificate, (aiortc_patches.CONTEXT,))
    _agree_on_keys_once(certificate)
    return SctpLimiter(sctp, unfragmented, refuse, arrivals, traffic)


def _agree_on_keys_once(certificate: Any) -> None:  # noqa: ANN401
    """Have DTLS not begin anew: each time costs signatures, and nobody would look at the certificate."""
    create = certificate._create_ssl_context

    def without_renegotiation(*arguments: object, **named: object) -> SSL.Context:
        context: SSL.Context = create(*arguments, **named)
        context.set_options(SSL.OP_NO_RENEGOTIATION)
        return context

    certificate._create_ssl_context = without_renegotiation


class SctpLimiter:
    """Stands before a transport's own handling of packets and chunks."""

    def __init__(
        self,
        sctp: Any,  # noqa: ANN401
        unfragmented: Collection[int],
        refuse: Callable[[str], None],
        arrivals: SequenceTracker,
        traffic: Traffic,
    ) -> None:
        self._sctp = sctp
        self._traffic = traffic
        self._arrivals = arrivals
        self._unfragmented = unfragmented
        self._refuse = refuse
        self._packet_in, self._chunk_in = sctp._handle_data, sctp._receive_chunk
        self._packet_out = sctp.transport._send_data
        self._window = sctp._advertised_rwnd
        self._limit = RateLimit(PER_SECOND, AT_ONCE)
        self._work = WorkLimit(WORK_SHARE, WORK_AT_ONCE)
        self._loop = asyncio.get_running_loop()
        self._over = False
        self.acknowledgements = 0
        """How many acknowledgements have come."""
        Received(sctp)
        sctp._handle_data, sctp._receive_chunk = self._handle_data, self._receive_chunk
        sctp.transport._send_data = self._send_data

    async def _send_data(self, data: bytes) -> None:
        """Send a packet. Where the other side has broken DTLS off, aiortc would raise, and close nothing."""
        self._traffic.sent.packet(data)
        try:
            await self._packet_out(data)
        except SSL.Error:
            self._end("The other side has closed the encrypted connection.")

    async def _handle_data(self, data: bytes) -> None:
        self._traffic.received.packet(data)
        if not self._allows():
            return
        began = time.perf_counter()
        try:
            check_packet(data)
            await self._packet_in(data)
        except ConnectionError:
            raise
        except PeerError as error:
            self._end(str(error))
        # On malformed packets aiortc raises nearly anything: struct.error, AssertionError, IndexError, ...
        except Exception:
            self._end("The other side sent a packet that cannot be read.")
        self._note_work(time.perf_counter() - began)

    async def _receive_chunk(self, chunk: Chunk) -> None:
        if self._allows() and self._admits(chunk):
            await self._chunk_in(chunk)
            if isinstance(chunk, DataChunk):
                self._check_held()

    def _admits(self, chunk: Chunk) -> bool:
        """Say whether aiortc is to see the chunk. Raise PeerError where it is over a bound."""
        if isinstance(chunk, DataChunk):
            self._arrivals.came(chunk.tsn)
            if chunk.stream_id in self._unfragmented and chunk.flags & _WHOLE != _WHOLE:
                raise PeerError("The other side sent a keypoint message in fragments.")
        elif isinstance(chunk, SackChunk):
            self.acknowledgements += 1
            return check_sack(chunk, self._sctp)
        elif isinstance(chunk, ForwardTsnChunk):
            check_forward(chunk, set(self._sctp._inbound_streams))
        elif isinstance(chunk, ReconfigChunk):
            # Channels live as long as the connection. One that is left half closed would be neither.
            raise PeerError("The other side has closed a channel.")
        elif isinstance(chunk, ShutdownChunk):
            self._end("")
            return False
        elif isinstance(chunk, InitChunk | InitAckChunk):
            # One that comes late, or again, would have the numbers begin anew.
            return self._sctp._association_state is not self._sctp.State.ESTABLISHED
        return True

    def _note_work(self, seconds: float) -> None:
        # The thread's own time would be the right one, but asking for it costs a system call, after which a
        # machine with more to do often lets another process go first.
        if not self._work.allows(min(seconds, LONGEST), self._loop.time()):
            self._end("The other side makes this machine do too much work.")

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
            self._end("The other side sends fragments of messages that it never completes.")
        elif len(self._sctp._sack_misordered) > MAX_GAPS:
            self._end("The other side leaves gaps in what it sends and never fills them.")

    def _end(self, reason: str) -> None:
        if not self._over:
            self._over = True
            self._refuse(reason)
