"""The sound packet: RTP (RFC 3550) with 60 ms of Opus, readable without any other packet.

    byte  0      0x80: version 2, nothing optional
    byte  1      111: Opus, as browsers number it; 112: a keypoint packet and Opus
    bytes 2-3    how many packets were sent over this connection before, modulo 2**16
    bytes 4-7    number of the first sample since the call's frame 0 was due, modulo 2**32; 48000 per second
    bytes 8-11   0
    bytes 12-    the Opus packet, 2880 samples; of kind 112 before it a byte that is the size of a keypoint
                 packet, and that packet

Sound travels as SRTP next to the data channels, on the same ports: 50 bytes a packet (IP 20, UDP 8, RTP 12
and 10 of authentication), where a message on a channel costs 85 and is acknowledged on top. In a pause
nothing is sent, so a missing packet is lost only where the count says so. Frame n and sample 1600 n are the
same moment, which is all there is to keeping sound and picture together.

A keypoint packet that travels along costs one byte besides its own. It is in the payload and not in a header
extension, which SRTP does not encrypt.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from shared.constants import FPS
from shared.errors import PeerError
from shared.media.opus import MAX_BYTES, RATE, SAMPLES, samples_of

_HEADER = struct.Struct(">BBHII")
_VERSION, _KIND, _LADEN, _SOURCE = 0x80, 111, 112, 0
_TIMES, _COUNTS = 1 << 32, 1 << 16
HEADER_BYTES = _HEADER.size
_BEGINNINGS = (bytes((_VERSION, _KIND)), bytes((_VERSION, _LADEN)))
MAX_LOAD = 255
"""Of a keypoint packet that travels along."""
PACKET_OVERHEAD = 50
"""IP 20, UDP 8, RTP 12, SRTP 10 bytes around each Opus packet (over IPv6 20 more)."""
BLOCK_SECONDS = SAMPLES / RATE
SAMPLES_PER_FRAME = RATE // FPS
MAX_VOICE_PACKET = HEADER_BYTES + 1 + MAX_LOAD + MAX_BYTES


def is_sound(datagram: bytes) -> bool:
    """Say whether a datagram begins as a sound packet does, encrypted or not: RTP of the one source."""
    return datagram[:2] in _BEGINNINGS and datagram[8:HEADER_BYTES] == bytes(4)


@dataclass(frozen=True)
class VoicePacket:
    """Block `number` (samples 2880 number to 2880 number + 2879 of the call), the `count`th packet sent.

    `keypoints` is a keypoint packet that travels along, of at most `MAX_LOAD` bytes; empty for none.
    """

    number: int
    count: int
    payload: bytes
    keypoints: bytes = b""

    def pack(self) -> bytes:
        """Return the packet's bytes. Raise ValueError when it is not one that `parse` accepts."""
        problem = _problem(self.payload)
        size = len(self.keypoints)
        if problem or self.number < 0 or self.count < 0 or size > MAX_LOAD:
            raise ValueError(problem or f"block {self.number}, packet {self.count}, {size} more is no packet")
        load = bytes([size]) + self.keypoints if size else b""
        time, kind = self.number * SAMPLES % _TIMES, _LADEN if size else _KIND
        return _HEADER.pack(_VERSION, kind, self.count % _COUNTS, time, _SOURCE) + load + self.payload

    @classmethod
    def parse(cls, data: bytes, latest: int, near_count: int) -> VoicePacket:
        """Read a packet off the wire: its number is the last one up to `latest`, or where there was none the
        first after it; its count the nearest to `near_count`.

        Raise PeerError on malformation.
        """
        if not HEADER_BYTES < len(data) <= MAX_VOICE_PACKET:
            raise PeerError(f"A sound packet has {len(data)} bytes.")
        version, kind, count, time, source = _HEADER.unpack_from(data)
        if (version, source) != (_VERSION, _SOURCE) or kind not in (_KIND, _LADEN):
            raise PeerError("A sound packet has a header that is not ours.")
        first = max(time, latest * SAMPLES - (latest * SAMPLES - time) % _TIMES)
        if first % SAMPLES:
            raise PeerError("A sound packet stands between the blocks of the call.")
        payload, keypoints = bytes(data[HEADER_BYTES:]), b""
        if kind == _LADEN:
            size = payload[0]
            keypoints, payload = payload[1 : 1 + size], payload[1 + size :]
            if not size or not payload:
                raise PeerError("A sound packet is cut short, or carries keypoints that are not there.")
        problem = _problem(payload)
        if problem:
            raise PeerError(problem)
        return cls(first // SAMPLES, _nearest(count, near_count, _COUNTS), payload, keypoints)


def _nearest(value: int, near: int, modulus: int) -> int:
    """Return the number nearest to `near` that is `value` modulo `modulus`."""
    half = modulus // 2
    return near + (value - near + half) % modulus - half


def _problem(payload: bytes) -> str | None:
    if len(payload) > MAX_BYTES or samples_of(payload) != SAMPLES:
        return f"A sound packet of {len(payload)} bytes is not 60 ms of mono Opus."
    return None
