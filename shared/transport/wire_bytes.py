"""IP bytes of a connection, one direction, by what they are for. Pure counting.

A datagram is counted where it leaves or comes, an SCTP packet where it is not encrypted yet, or no more: what
the one has beyond the other is DTLS.
"""

from __future__ import annotations

from collections.abc import Collection
from struct import unpack_from

from shared.interfaces import CAUSES
from shared.transport.media import IN_HEADER, channel_of

_STUN, _APPLICATION_DATA = 3, 23
"""The last first byte of a STUN message, and that of a DTLS record with data (RFC 7983, RFC 6347)."""
_DTLS_FIRST, _DTLS_LAST = 20, 63
_RTP_HEADER, _SRTP_TAG = 12, 10
_PACKET_HEADER, _CHUNK_HEADER, _DATA_HEADER = 12, 4, 16
_DATA, _SACK = 0, 3


class WireBytes:
    """Counts of one way, on which streams `keypoints` carry those, and all other streams control."""

    def __init__(self, keypoints: Collection[int]) -> None:
        self._keypoints = keypoints
        self._counts = dict.fromkeys(CAUSES, 0)
        self._records = self._packets = 0
        self.total = 0
        """All of them."""

    @property
    def by_cause(self) -> dict[str, int]:
        """The bytes for each of `CAUSES`, of which pictures and reports are under "control" here."""
        # A packet that has been counted may still be on its way to the socket.
        return {**self._counts, "dtls": max(0, self._records - self._packets)}

    def datagram(self, data: bytes, header: int) -> None:
        """Count a datagram, and the `header` bytes of IP and UDP around it."""
        first, size = data[0], len(data)
        self.total += size + header
        self._counts["ip"] += header
        if first <= _STUN:
            self._counts["ice"] += size
        elif first == _APPLICATION_DATA:
            self._records += size
        elif _DTLS_FIRST <= first <= _DTLS_LAST:
            self._counts["set_up"] += size
        else:
            # As reports in a channel: of a connection, they are under "control".
            channel = channel_of(data)
            around = min(size, _RTP_HEADER + _SRTP_TAG - (0 if channel is None else IN_HEADER))
            self._counts["rtp"] += around
            cause = "sound" if channel is None else "keypoints" if channel == "kp" else "control"
            self._counts[cause] += size - around

    def packet(self, data: bytes) -> None:
        """Count a readable SCTP packet (RFC 9260); whatever is odd about it counts as SCTP's own."""
        self._packets += len(data)
        counted, at = 0, _PACKET_HEADER
        while at + _CHUNK_HEADER <= len(data):
            kind, _, length = unpack_from("!BBH", data, at)
            if length < _CHUNK_HEADER or at + length > len(data):
                break
            if kind == _DATA and length > _DATA_HEADER:
                stream = unpack_from("!H", data, at + 8)[0]
                cause, size = "keypoints" if stream in self._keypoints else "control", length - _DATA_HEADER
            else:
                cause, size = "acknowledgements", length if kind == _SACK else 0
            self._counts[cause] += size
            counted += size
            at += length + -length % 4
        self._counts["sctp"] += len(data) - counted
