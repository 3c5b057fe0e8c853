"""Checks on the contents of one SCTP packet (RFC 9260), made before aiortc reads it.

aiortc reads a parameter of length 0 for ever, walks each block of an acknowledgement number by number, and
answers as often as it is asked. So a packet is refused here whose reading or whose answers would be more
than a few milliseconds' work.
"""

from __future__ import annotations

from struct import unpack_from
from typing import Any

from aiortc.rtcsctptransport import ForwardTsnChunk, SackChunk

from shared.errors import PeerError

MAX_CHUNKS = 16
"""In a packet. keycast puts three together at most: a SACK, a FORWARD-TSN and a message."""
MAX_CONTROL = 4
"""Of them without a message: each may be answered with a packet."""
MAX_PARAMETERS = 16
"""In a chunk. An INIT has two, its answer three."""
MAX_STREAMS = 4
"""Two for each direction of a call."""
MODULUS = 2**32
_HALF = 2**31
_PACKET_HEADER, _CHUNK_HEADER = 12, 4
_DATA, _RECONFIG = 0, 130
# Where the parameters of a chunk begin, by its type: INIT, INIT-ACK, HEARTBEAT and its ACK, ABORT, ERROR.
_PARAMETERS = {1: 16, 2: 16, 4: 0, 5: 0, 6: 0, 9: 0, _RECONFIG: 0}


def check_packet(data: bytes) -> None:
    """Raise PeerError where the packet holds too much. What is cut short is not looked at further."""
    at, chunks, control = _PACKET_HEADER, 0, 0
    while at + _CHUNK_HEADER <= len(data):
        kind, _, length = unpack_from("!BBH", data, at)
        chunks += 1
        control += kind != _DATA
        if chunks > MAX_CHUNKS or control > MAX_CONTROL:
            raise PeerError("The other side puts too much into one packet.")
        if length < _CHUNK_HEADER or at + length > len(data):
            return  # aiortc drops it as a whole
        if kind in _PARAMETERS:
            _check_parameters(data[at + _CHUNK_HEADER + _PARAMETERS[kind] : at + length])
        at += length + -length % 4


def _check_parameters(body: bytes) -> None:
    at, count = 0, 0
    while at + 4 <= len(body):
        length = unpack_from("!H", body, at + 2)[0]
        count += 1
        if length < 4 or at + length > len(body) or count > MAX_PARAMETERS:
            raise PeerError("The other side sent a packet that cannot be read.")
        at += length + -length % 4


def check_forward(chunk: ForwardTsnChunk, known: set[int]) -> None:
    """Raise PeerError where the chunk names streams again and again, or more than there may be.

    `known` are the streams that something has come on.
    """
    named = {stream for stream, _ in chunk.streams}
    if len(named) < len(chunk.streams) or len(named | known) > MAX_STREAMS:
        raise PeerError(f"The other side uses over {MAX_STREAMS} streams.")


def check_sack(chunk: SackChunk, sctp: Any) -> bool:  # noqa: ANN401
    """Say whether the acknowledgement is news; raise PeerError where it confirms what was never sent.

    Its blocks are put in order, and reduced to what still waits to be confirmed. That they arrive in order
    cannot be asked for: aiortc sorts by the number itself, which begins again at 0 after 2**32.
    """
    if _ahead(sctp._last_sacked_tsn, chunk.cumulative_tsn) > 0:
        return False
    unsent = sctp._outbound_queue[0].tsn if sctp._outbound_queue else sctp._local_tsn
    newest = _ahead(unsent, chunk.cumulative_tsn) - 1
    before, gaps = 0, sorted(chunk.gaps)
    for first, last in gaps:
        if not before < first <= last:
            raise PeerError("The other side acknowledges the same messages twice.")
        before = last
    if before > newest or newest < 0:
        raise PeerError("The other side acknowledges messages that were never sent.")
    oldest = _ahead(sctp._sent_queue[0].tsn, chunk.cumulative_tsn) if sctp._sent_queue else _HALF
    chunk.gaps = [(max(first, oldest), last) for first, last in gaps if last >= oldest]
    return True


def _ahead(number: int, of: int) -> int:
    """Return by how much `number` is ahead of another, in -2**31 to 2**31 - 1."""
    return (number - of + _HALF) % MODULUS - _HALF
