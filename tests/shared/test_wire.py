import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import PeerError
from shared.wire import HEADER_BYTES, MAX_PAYLOAD, KeypointPacket

PACKET = KeypointPacket(first=0x01020304, timestamp_ms=0x0A0B0C0D, count=2, payload=b"xyz")
BYTES = bytes.fromhex("11 04030201 0d0c0b0a 02") + b"xyz"


def test_the_bytes_of_a_packet() -> None:
    assert HEADER_BYTES == 10
    assert PACKET.pack() == BYTES
    assert KeypointPacket.parse(BYTES) == PACKET


@given(
    first=st.integers(0, 2**32 - 33),
    timestamp_ms=st.integers(0, 2**32 - 1),
    count=st.integers(1, 32),
    payload=st.binary(min_size=1, max_size=MAX_PAYLOAD),
)
def test_packets_go_there_and_back(first: int, timestamp_ms: int, count: int, payload: bytes) -> None:
    packet = KeypointPacket(first, timestamp_ms, count, payload)
    assert KeypointPacket.parse(packet.pack()) == packet


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "shorter than its header"),
        (BYTES[:9], "shorter than its header"),
        (BYTES[:10], "payload of 0 bytes"),
        (b"\x21" + BYTES[1:], "unknown version and kind 0x21"),
        (b"\x12" + BYTES[1:], "unknown version and kind 0x12"),
        (BYTES[:9] + b"\x00" + BYTES[10:], "has 0 frames"),
        (BYTES[:9] + b"\x21" + BYTES[10:], "has 33 frames"),
        (BYTES + bytes(1150), "payload of 1153 bytes"),
        (b"\x11\xff\xff\xff\xff" + BYTES[5:], "past the last frame number"),
    ],
)
def test_a_malformed_packet_is_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(PeerError, match=sentence):
        KeypointPacket.parse(data)


@given(st.binary(max_size=1300))
def test_any_bytes_parse_or_are_refused(data: bytes) -> None:
    with contextlib.suppress(PeerError):
        assert KeypointPacket.parse(data).pack() == data


def test_what_could_not_be_parsed_is_not_packed() -> None:
    with pytest.raises(ValueError, match="payload of 0 bytes"):
        KeypointPacket(0, 0, 1, b"").pack()
