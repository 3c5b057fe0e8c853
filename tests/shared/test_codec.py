import numpy as np
import pytest

from shared.codec import Block, PaperCodec
from shared.errors import PeerError
from shared.wire import MAX_PAYLOAD

FRAMES = np.random.default_rng(0).uniform(-1, 1, (4, 60)).astype(np.float32)


def test_the_paper_profile_is_exact_and_240_bytes_a_frame() -> None:
    payload = PaperCodec().encode(Block(FRAMES))
    assert len(payload) == 4 * 240
    np.testing.assert_array_equal(PaperCodec().decode(payload, 4).frames, FRAMES)


def test_the_bytes_are_little_endian() -> None:
    frame = np.zeros((1, 60), np.float32)
    frame[0, 0] = 1.0
    assert PaperCodec().encode(Block(frame))[:8] == b"\x00\x00\x80\x3f\x00\x00\x00\x00"


def test_four_frames_fit_a_packet() -> None:
    assert PaperCodec().most_frames(MAX_PAYLOAD) == 4
    assert PaperCodec().most_frames(239) == 0


@pytest.mark.parametrize(("size", "count"), [(240, 2), (241, 1), (0, 1), (0, 0), (480, 1), (240, -1)])
def test_a_wrong_size_is_refused(size: int, count: int) -> None:
    with pytest.raises(PeerError, match="does not hold"):
        PaperCodec().decode(bytes(size), count)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1001.0, -3e38])
def test_an_implausible_number_is_refused(value: float) -> None:
    frames = FRAMES.copy()
    frames[2, 30] = value
    with pytest.raises(PeerError, match="plausible"):
        PaperCodec().decode(frames.astype("<f4").tobytes(), 4)
    with pytest.raises(ValueError, match="plausible"):
        PaperCodec().encode(Block(frames))


def test_decoded_frames_may_be_written_to() -> None:
    decoded = PaperCodec().decode(PaperCodec().encode(Block(FRAMES)), 4).frames
    decoded[0, 0] = 5.0
    assert decoded.dtype == np.float32


@pytest.mark.parametrize("shape", [(60,), (2, 59), (0, 60), (1, 2, 60)])
def test_another_shape_is_not_encoded(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        PaperCodec().encode(Block(np.zeros(shape, np.float32)))
