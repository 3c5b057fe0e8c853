"""Bytes on the wire by what they are for: of real packets, and of those that make no sense."""

from typing import Any

import pytest
from aiortc.rtcsctptransport import DataChunk, ForwardTsnChunk, InitChunk, SackChunk, serialize_packet
from hypothesis import given
from hypothesis import strategies as st

from shared.interfaces import CAUSES
from shared.transport.wire_bytes import WireBytes

KP, CTL = 0, 2


def data(stream: int, size: int) -> DataChunk:
    chunk = DataChunk(flags=3)
    chunk.stream_id, chunk.user_data = stream, bytes(size)
    return chunk


def packet(*chunks: Any) -> bytes:
    one = serialize_packet(5000, 5000, 1, chunks[0])
    return bytes(one) + b"".join(bytes(chunk) for chunk in chunks[1:])


def counted(plain: bytes) -> dict[str, int]:
    """Return what counts of one packet, encrypted as ChaCha20-Poly1305 does it, over IPv4."""
    count = WireBytes({KP})
    count.packet(plain)
    count.datagram(bytes([23]) + bytes(12) + plain + bytes(16), 28)
    assert count.total == len(plain) + 29 + 28
    found = count.by_cause
    assert tuple(found) == CAUSES
    assert sum(found.values()) == count.total
    return {cause: size for cause, size in found.items() if size}


@pytest.mark.parametrize("padding", range(4))
def test_a_keypoint_message_is_its_own_bytes_and_85_around_them(padding: int) -> None:
    found = counted(packet(data(KP, 40 - padding)))
    assert found == {"keypoints": 40 - padding, "sctp": 28 + padding, "dtls": 29, "ip": 28}


def test_what_travels_along_is_told_apart() -> None:
    sack, forward = SackChunk(), ForwardTsnChunk()
    sack.gaps = [(2, 3)]
    found = counted(packet(sack, forward, data(CTL, 30), data(KP, 50)))
    # A SACK of 16 bytes and 4 for its gap; FORWARD-TSN 8; two headers of 16, padded, and the common one.
    assert found == {
        "keypoints": 50, "control": 30, "acknowledgements": 20, "sctp": 12 + 8 + 2 * (16 + 2), "dtls": 29,
        "ip": 28,
    }  # fmt: skip


def test_an_association_is_set_up_by_sctp_alone() -> None:
    plain = packet(InitChunk())
    assert counted(plain) == {"sctp": len(plain), "dtls": 29, "ip": 28}


def test_datagrams_are_told_apart_by_their_first_byte() -> None:
    count = WireBytes({KP})
    count.datagram(b"\x00\x01" + bytes(98), 48)
    count.datagram(b"\x16" + bytes(199), 48)
    count.datagram(b"\x80\x6f" + bytes(98), 48)
    found = {cause: size for cause, size in count.by_cause.items() if size}
    assert found == {"ice": 100, "set_up": 200, "sound": 78, "rtp": 22, "ip": 3 * 48}
    assert count.total == sum(found.values())


@given(st.binary(max_size=80))
def test_whatever_a_packet_holds_each_byte_counts_once(plain: bytes) -> None:
    count = WireBytes({KP})
    count.packet(plain)
    inner = sum(size for cause, size in count.by_cause.items() if cause not in ("dtls", "ip"))
    assert inner == len(plain)
    assert min(count.by_cause.values()) >= 0
