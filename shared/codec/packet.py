"""The keypoint packet: one message on the `kp` channel, readable without any other packet.

    byte  0     protocol version (high three bits) and how many consecutive frames, less one (low five bits)
    bytes 1-2   number of the first frame modulo 2**16, little-endian; see `shared.protocol.frame_clock`
    byte  3     ms from the first frame's place on the call's 1/30 s grid to its capture; 255 is 255 or more
    bytes 4-    the codec's payload

Four bytes; a message costs 93 more under them (IP 20, UDP 8, DTLS 37, SCTP 28). What never changes within a
call is sent once, on the `ctl` channel: the codec in the hello, and when frame 0 was in the start message.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from shared.constants import MAX_PACKET, MAX_PACKET_FRAMES, PROTOCOL
from shared.errors import PeerError

_HEADER = struct.Struct("<BHB")
_COUNT_BITS = 5
_MODULUS = 1 << 16
HEADER_BYTES = _HEADER.size
MAX_PAYLOAD = MAX_PACKET - HEADER_BYTES
MAX_LATE_MS = 255


@dataclass(frozen=True)
class KeypointPacket:
    """`count` (1 to 32) consecutive frames from number `first`, coded in `payload` (1 to 1156 bytes).

    `late_ms` is how long after its place on the grid the first frame was captured; on the wire at most 255.
    """

    first: int
    late_ms: int
    count: int
    payload: bytes

    def pack(self) -> bytes:
        """Return the packet's bytes. Raise ValueError when it is not one that `parse` accepts."""
        problem = _problem(len(self.payload))
        if problem or self.first < 0 or not 1 <= self.count <= MAX_PACKET_FRAMES:
            raise ValueError(problem or f"{self.count} frames from number {self.first} are no packet")
        late = min(max(self.late_ms, 0), MAX_LATE_MS)
        head = PROTOCOL << _COUNT_BITS | (self.count - 1)
        return _HEADER.pack(head, self.first % _MODULUS, late) + self.payload

    @classmethod
    def parse(cls, data: bytes, latest: int) -> KeypointPacket:
        """Read a packet off the wire. Raise PeerError on malformation.

        Its number is the last one up to `latest`; in a call that has had none such yet, the first after it.
        """
        if len(data) < HEADER_BYTES:
            raise PeerError(f"A keypoint packet of {len(data)} bytes is shorter than its header.")
        head, number, late_ms = _HEADER.unpack_from(data)
        if head >> _COUNT_BITS != PROTOCOL:
            raise PeerError(f"A keypoint packet has the unknown version {head >> _COUNT_BITS}.")
        problem = _problem(len(data) - HEADER_BYTES)
        if problem:
            raise PeerError(problem)
        first = max(number, latest - (latest - number) % _MODULUS)
        return cls(first, late_ms, (head & MAX_PACKET_FRAMES - 1) + 1, bytes(data[HEADER_BYTES:]))


def _problem(payload_bytes: int) -> str | None:
    if not 1 <= payload_bytes <= MAX_PAYLOAD:
        return f"A keypoint packet has a payload of {payload_bytes} bytes, not 1 to {MAX_PAYLOAD}."
    return None
