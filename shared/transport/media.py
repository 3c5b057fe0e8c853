"""Messages as media: RTP packets under the keys that the connection has anyway, next to the channels.

    byte  0      0x80: version 2, nothing optional
    byte  1      113: a keypoint packet; 114: a report
    bytes 2-3    how many such packets were sent over this connection before, modulo 2**16
    bytes 4-7    the first four bytes of the message, where RTP has a time that nobody needs
    bytes 8-11   1, where sound has 0
    bytes 12-    the rest of the message

What is around a message is then 46 bytes (IP 20, UDP 8, RTP 8, SRTP 10) where SCTP and DTLS come to 85, and
nobody acknowledges it or says it again, which nobody wants of keypoints. What has come, reports say.

SRTP does not encrypt a header, so the first four bytes can be read on the way, as those of sound can: of a
keypoint packet which frames it is of, of a report how many packets have come.
"""

from __future__ import annotations

import struct

from shared.constants import MAX_PACKET
from shared.errors import PeerError
from shared.interfaces import Channel
from shared.protocol.message_format import is_report

_HEADER = struct.Struct(">BBH4sI")
IN_HEADER = 4
"""Bytes of a message that stand in its packet's header."""
_VERSION, _SOURCE, _COUNTS = 0x80, 1, 1 << 16
_KINDS: dict[Channel, int] = {"kp": 113, "ctl": 114}
_CHANNELS = {kind: channel for channel, kind in _KINDS.items()}
_BEGINNINGS = {bytes((_VERSION, kind)): channel for kind, channel in _CHANNELS.items()}
MEDIA_OVERHEAD = 46
"""IP 20, UDP 8, RTP 8, SRTP 10 bytes around each message (over IPv6 20 more)."""


def channel_of(datagram: bytes) -> Channel | None:
    """Return whose messages a datagram, encrypted or not, looks like; None where it is no such packet."""
    named = datagram[8 : _HEADER.size] == _SOURCE.to_bytes(4, "big")
    return _BEGINNINGS.get(bytes(datagram[:2])) if named else None


def pack(channel: Channel, count: int, data: bytes) -> bytes:
    """Return the packet of a message of `channel`, the `count`th sent. ValueError for up to four bytes."""
    begins, rest = data[:IN_HEADER], data[IN_HEADER:]
    if not rest:
        raise ValueError(f"a message of {len(data)} bytes is too short to be media")
    return _HEADER.pack(_VERSION, _KINDS[channel], count % _COUNTS, begins, _SOURCE) + rest


def parse(packet: bytes, near: int) -> tuple[Channel, int, bytes]:
    """Return a packet's channel, its count, which is the nearest to `near`, and the message.

    Raise PeerError on malformation.
    """
    channel = channel_of(packet)
    if channel is None or len(packet) <= _HEADER.size:
        raise PeerError("A media packet has a header that is not ours.")
    data = bytes(packet[4:8] + packet[_HEADER.size :])
    if len(data) > MAX_PACKET or (channel == "ctl" and not is_report(data)):
        raise PeerError(f"A media packet holds {len(data)} bytes that do not belong there.")
    count = int.from_bytes(packet[2:4], "big")
    half = _COUNTS // 2
    return channel, near + (count - near + half) % _COUNTS - half, data
