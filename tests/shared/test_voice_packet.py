"""The sound packet: what it holds, what it refuses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import PeerError
from shared.media.opus import MAX_BYTES, SAMPLES, OpusEncoder
from shared.media.voice_packet import HEADER_BYTES, MAX_LOAD, VoicePacket, is_sound

OPUS = OpusEncoder(18).encode(np.random.default_rng(0).integers(-9000, 9000, SAMPLES, dtype=np.int16))


@given(st.integers(0, 2**40), st.integers(0, 2**20), st.integers(0, 2**40), st.integers(-9999, 9999))
def test_a_packet_is_read_as_it_was_written(number: int, away: int, count: int, counts_away: int) -> None:
    packet = VoicePacket(number, count, OPUS)
    data = packet.pack()
    assert len(data) == HEADER_BYTES + len(OPUS)
    assert VoicePacket.parse(data, number + away, count + counts_away) == packet


@given(st.binary(min_size=1, max_size=MAX_LOAD))
def test_a_keypoint_packet_costs_one_byte_more(keypoints: bytes) -> None:
    packet = VoicePacket(7, 3, OPUS, keypoints)
    data = packet.pack()
    assert len(data) == HEADER_BYTES + 1 + len(keypoints) + len(OPUS)
    assert is_sound(data)
    assert VoicePacket.parse(data, 7, 3) == packet
    for size in range(HEADER_BYTES, HEADER_BYTES + 2 + len(keypoints)):
        with pytest.raises(PeerError):
            VoicePacket.parse(data[:size], 7, 3)


def test_no_more_than_fits_travels_along() -> None:
    with pytest.raises(ValueError, match="no packet"):
        VoicePacket(0, 0, OPUS, bytes(MAX_LOAD + 1)).pack()
    empty = bytearray(VoicePacket(0, 0, OPUS, b"x").pack())
    empty[HEADER_BYTES : HEADER_BYTES + 2] = b"\0"
    with pytest.raises(PeerError, match="not there"):
        VoicePacket.parse(bytes(empty), 0, 0)


@given(st.binary(max_size=600), st.integers(0, 10**9))
def test_whatever_comes_is_a_packet_or_refused(data: bytes, latest: int) -> None:
    try:
        packet = VoicePacket.parse(data, latest, latest)
    except PeerError:
        return
    assert VoicePacket.parse(packet.pack(), latest, latest) == packet


@pytest.mark.parametrize("at", [0, 1, 7, 11, 12])
def test_every_part_of_the_header_counts(at: int) -> None:
    data = bytearray(VoicePacket(5, 3, OPUS).pack())
    data[at] ^= 0xFC
    with pytest.raises(PeerError):
        VoicePacket.parse(bytes(data), 5, 3)


@pytest.mark.parametrize(
    "payload", [b"", OPUS[:1] + bytes(MAX_BYTES), bytes([OPUS[0] | 4]) + OPUS[1:], b"\x50" + OPUS[1:]]
)
def test_only_sixty_milliseconds_of_mono_opus_are_packed(payload: bytes) -> None:
    with pytest.raises(ValueError, match="not 60 ms"):
        VoicePacket(0, 0, payload).pack()


def test_no_packet_stands_before_the_call() -> None:
    data = VoicePacket(2**32 // SAMPLES + 1, 0, OPUS).pack()
    with pytest.raises(PeerError, match="between"):
        VoicePacket.parse(data, 0, 0)
    with pytest.raises(ValueError, match="no packet"):
        VoicePacket(-1, 0, OPUS).pack()
