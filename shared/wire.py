"""The keypoint packet: one message on the `kp` channel, readable without any other packet.

    byte  0     version (high four bits) and kind (low four bits)
    bytes 1-4   number of the first frame
    bytes 5-8   capture time of the first frame, wall clock in ms modulo 2**32
    byte  9     how many consecutive frames
    bytes 10-   the codec's payload

Numbers are little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from shared.config import MAX_PACKET, MAX_PACKET_FRAMES, PROTOCOL
from shared.errors import PeerError

_HEADER = struct.Struct("<BIIB")
_KEYPOINTS = 1
_VERSION_KIND = PROTOCOL << 4 | _KEYPOINTS
HEADER_BYTES = _HEADER.size
MAX_PAYLOAD = MAX_PACKET - HEADER_BYTES
MAX_FRAME_NUMBER = 2**32 - 1


@dataclass(frozen=True)
class KeypointPacket:
    """`count` (1 to 32) consecutive frames from number `first`, coded in `payload` (1 to 1150 bytes)."""

    first: int
    timestamp_ms: int
    count: int
    payload: bytes

    def pack(self) -> bytes:
        """Return the packet's bytes. Raise ValueError when it is not one that `parse` accepts."""
        problem = _problem(self.first, self.count, len(self.payload))
        if problem:
            raise ValueError(problem)
        return _HEADER.pack(_VERSION_KIND, self.first, self.timestamp_ms, self.count) + self.payload

    @classmethod
    def parse(cls, data: bytes) -> KeypointPacket:
        """Read a packet off the wire. Raise PeerError on any malformation."""
        if len(data) < HEADER_BYTES:
            raise PeerError(f"A keypoint packet of {len(data)} bytes is shorter than its header.")
        version_kind, first, timestamp_ms, count = _HEADER.unpack_from(data)
        if version_kind != _VERSION_KIND:
            raise PeerError(f"A keypoint packet has the unknown version and kind {version_kind:#04x}.")
        problem = _problem(first, count, len(data) - HEADER_BYTES)
        if problem:
            raise PeerError(problem)
        return cls(first, timestamp_ms, count, bytes(data[HEADER_BYTES:]))


def _problem(first: int, count: int, payload_bytes: int) -> str | None:
    if not 1 <= payload_bytes <= MAX_PAYLOAD:
        return f"A keypoint packet has a payload of {payload_bytes} bytes, not 1 to {MAX_PAYLOAD}."
    if not 1 <= count <= MAX_PACKET_FRAMES:
        return f"A keypoint packet has {count} frames, not 1 to {MAX_PACKET_FRAMES}."
    if first + count - 1 > MAX_FRAME_NUMBER:
        return "A keypoint packet runs past the last frame number."
    return None
