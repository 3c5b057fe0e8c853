import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.codec.packet import HEADER_BYTES, MAX_PAYLOAD, KeypointPacket
from shared.errors import PeerError

PACKET = KeypointPacket(first=0x1234, late_ms=9, count=2, payload=b"xyz")
BYTES = bytes.fromhex("41 3412 09") + b"xyz"


def test_the_bytes_of_a_packet() -> None:
    assert HEADER_BYTES == 4
    assert PACKET.pack() == BYTES
    assert KeypointPacket.parse(BYTES, 0x2000) == PACKET


@given(
    first=st.integers(0, 10**9),
    away=st.integers(0, 2**16 - 1),
    late_ms=st.integers(0, 255),
    count=st.integers(1, 32),
    payload=st.binary(min_size=1, max_size=MAX_PAYLOAD),
)
def test_packets_go_there_and_back_wherever_the_call_stands(
    first: int, away: int, late_ms: int, count: int, payload: bytes
) -> None:
    packet = KeypointPacket(first, late_ms, count, payload)
    assert KeypointPacket.parse(packet.pack(), first + away) == packet


@pytest.mark.parametrize(("late_ms", "told"), [(-3, 0), (254, 254), (256, 255), (10**6, 255)])
def test_how_late_a_frame_is_ends_at_255(late_ms: int, told: int) -> None:
    assert KeypointPacket.parse(KeypointPacket(0, late_ms, 1, b"x").pack(), 0).late_ms == told


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "shorter than its header"),
        (BYTES[:3], "shorter than its header"),
        (BYTES[:4], "payload of 0 bytes"),
        (b"\x21" + BYTES[1:], "unknown version 1"),
        (b"\xe1" + BYTES[1:], "unknown version 7"),
        (BYTES + bytes(1156), "payload of 1159 bytes"),
    ],
)
def test_a_malformed_packet_is_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(PeerError, match=sentence):
        KeypointPacket.parse(data, 0)


@given(st.binary(max_size=1300), st.integers(0, 10**6))
def test_any_bytes_parse_or_are_refused(data: bytes, latest: int) -> None:
    with contextlib.suppress(PeerError):
        packet = KeypointPacket.parse(data, latest)
        assert packet.pack() == data
        assert 0 <= latest - packet.first < 1 << 16 or latest < packet.first < 1 << 16


@pytest.mark.parametrize(
    ("first", "count", "size"), [(0, 1, 0), (0, 0, 1), (0, 33, 1), (-1, 1, 1), (0, 1, 1157)]
)
def test_what_could_not_be_parsed_is_not_packed(first: int, count: int, size: int) -> None:
    with pytest.raises(ValueError, match=r"payload|no packet"):
        KeypointPacket(first, 0, count, bytes(size)).pack()
