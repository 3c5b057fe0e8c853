import contextlib
import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.fuzz.fuzz_command import fuzz
from models.lite.layout import DIMENSIONS
from shared.codec.keypoint_codec import (
    BIT_ERROR,
    QUALITY,
    Block,
    CodedCodec,
    Copy,
    PaperCodec,
    cheapest,
    filled_copies,
)
from shared.codec.packet import MAX_PAYLOAD
from shared.codec.quantization import QUALITIES
from shared.codec.tables import CodecTables
from shared.errors import PeerError
from shared.keypoints import Floats

TABLES = CodecTables.load(Path(__file__).parents[2] / "models" / "weights" / "lite" / "codec.safetensors")
CODEC = CodedCodec(TABLES)
GOLDEN = ("1438ec062b1ea562", 161, "77ebff3a6070f1c8")
FRAMES = np.random.default_rng(0).uniform(-1, 1, (4, 60)).astype(np.float32)


def test_the_paper_profile_is_exact_and_240_bytes_a_frame() -> None:
    payload = PaperCodec(DIMENSIONS).encode(Block(FRAMES))
    assert len(payload) == 4 * 240
    np.testing.assert_array_equal(PaperCodec(DIMENSIONS).decode(payload, 4).frames, FRAMES)


def test_the_bytes_are_little_endian() -> None:
    frame = np.zeros((1, 60), np.float32)
    frame[0, 0] = 1.0
    assert PaperCodec(DIMENSIONS).encode(Block(frame))[:8] == b"\x00\x00\x80\x3f\x00\x00\x00\x00"


def test_four_frames_fit_a_packet() -> None:
    assert PaperCodec(DIMENSIONS).most_frames(MAX_PAYLOAD) == 4
    assert PaperCodec(DIMENSIONS).most_frames(239) == 0


@pytest.mark.parametrize(("size", "count"), [(240, 2), (241, 1), (0, 1), (0, 0), (480, 1), (240, -1)])
def test_a_wrong_size_is_refused(size: int, count: int) -> None:
    with pytest.raises(PeerError, match="does not hold"):
        PaperCodec(DIMENSIONS).decode(bytes(size), count)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1001.0, -3e38])
def test_an_implausible_number_is_refused(value: float) -> None:
    frames = FRAMES.copy()
    frames[2, 30] = value
    with pytest.raises(PeerError, match="plausible"):
        PaperCodec(DIMENSIONS).decode(frames.astype("<f4").tobytes(), 4)
    with pytest.raises(ValueError, match="plausible"):
        PaperCodec(DIMENSIONS).encode(Block(frames))


def test_decoded_frames_may_be_written_to() -> None:
    decoded = PaperCodec(DIMENSIONS).decode(PaperCodec(DIMENSIONS).encode(Block(FRAMES)), 4).frames
    decoded[0, 0] = 5.0
    assert decoded.dtype == np.float32


@pytest.mark.parametrize("shape", [(60,), (2, 59), (0, 60), (1, 2, 60)])
def test_another_shape_is_not_encoded(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        PaperCodec(DIMENSIONS).encode(Block(np.zeros(shape, np.float32)))


def lively(seed: int, count: int = 6) -> Floats:
    """Keypoints about where the tables expect them, that move a little; the same on every machine."""
    generator = np.random.default_rng(seed)
    start = generator.normal(0, 8, 60)
    steps = generator.normal(0, 0.8, (count, 60)).cumsum(0)
    indices = np.rint(start + steps).astype(np.int64)
    return TABLES.quantizer.restore(indices, QUALITY)


def test_a_coded_block_takes_a_few_bytes_and_comes_back_near() -> None:
    codec = CodedCodec(TABLES)
    for seed in range(20):
        frames = lively(seed)
        payload = codec.encode(Block(frames))
        decoded = codec.decode(payload, 6).frames
        assert len(payload) < 6 * 60
        assert_near(decoded, frames, QUALITY)


def assert_near(decoded: Floats, frames: Floats, quality: int) -> None:
    """Assert that each number is off by no more than a coefficient's error, spread over the frames."""
    off = TABLES.quantizer.coordinates(decoded, quality) - TABLES.quantizer.coordinates(frames, quality)
    assert np.sqrt(np.square(off).mean(0)).max() <= 1.5
    assert np.square(off).mean() < 0.3


def test_a_number_that_saves_more_than_its_error_is_worth_is_taken() -> None:
    narrow, wide = np.zeros(4, np.int64), np.full(4, 40)
    exact = np.array([0.55, -0.55, 0.95, -3.4])
    numbers, cost = cheapest(exact, np.stack([narrow, wide]), TABLES.cdfs)
    # A one where there are hardly any costs ten bits; where all are large, it costs no more than a zero.
    assert numbers[0, :2].tolist() == [0, 0]
    assert numbers[1].tolist() == [1, -1, 1, -3]
    for row, scales, total in zip(numbers, (narrow, wide), cost, strict=True):
        bits = TABLES.cdfs.cost(row, scales)
        assert total == pytest.approx(np.square(exact - row).sum() + BIT_ERROR * bits.sum())
        for at in range(4):
            for other in (np.rint(exact[at]), np.rint(exact[at]) - np.sign(exact[at])):
                one = np.square(exact[at] - other) + BIT_ERROR * float(
                    TABLES.cdfs.cost(np.array([int(other)]), scales[at : at + 1])[0]
                )
                assert np.square(exact[at] - row[at]) + BIT_ERROR * bits[at] <= one + 1e-9


def test_what_moves_smoothly_takes_hardly_more_than_what_stands_still() -> None:
    way = np.sin(np.linspace(0, 1.5, 6))[:, None] * np.random.default_rng(1).normal(0, 4, 60)
    smooth = TABLES.quantizer.restore(np.rint(way).astype(np.int64), QUALITY)
    jumping = smooth[[3, 0, 5, 1, 4, 2]]
    still, moving, wild = (len(CODEC.encode(Block(f))) for f in (smooth[:1].repeat(6, 0), smooth, jumping))
    assert still < moving < 0.75 * wild


def test_a_still_face_costs_almost_nothing() -> None:
    codec = CodedCodec(TABLES)
    one = len(codec.encode(Block(lively(1, 1))))
    # Its mean is told a little more exactly, for it is that of six.
    assert len(codec.encode(Block(lively(1, 1).repeat(6, axis=0)))) <= one + 14


@pytest.mark.parametrize("quality", range(QUALITIES))
def test_every_quality_is_read_by_any_codec_of_the_same_tables(quality: int) -> None:
    frames = lively(quality)
    payload = CodedCodec(TABLES, quality).encode(Block(frames))
    decoded = CodedCodec(TABLES).decode(payload, 6).frames
    assert_near(decoded, frames, quality)


def test_coarser_is_smaller() -> None:
    sizes = [
        sum(len(CodedCodec(TABLES, quality).encode(Block(lively(seed)))) for seed in range(10))
        for quality in range(QUALITIES)
    ]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.slow
@given(st.integers(1, 32), st.integers(0, 10**6), st.floats(0.01, 900))
def test_any_plausible_numbers_are_coded_without_wrapping(count: int, seed: int, size: float) -> None:
    frames = np.random.default_rng(seed).uniform(-size, size, (count, 60)).astype(np.float32)
    decoded = CODEC.decode(CODEC.encode(Block(frames)), count).frames
    assert_near(decoded, frames, QUALITY)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30, -1001.0])
def test_what_is_not_plausible_is_not_coded(value: float) -> None:
    frames = lively(0)
    frames[3, 3] = value
    with pytest.raises(ValueError, match="plausible"):
        CodedCodec(TABLES).encode(Block(frames))


def test_copies_of_an_earlier_block_travel_along() -> None:
    codec, track = CodedCodec(TABLES), lively(5, 18)
    copies = [Copy(back, track[12 - back]) for back in (7, 10, 12)]
    alone = codec.encode(Block(track[12:]))
    payload = codec.encode(Block(track[12:], copies))
    block = codec.decode(payload, 6)
    assert len(alone) < len(payload) < 2 * len(alone)
    np.testing.assert_array_equal(block.frames, codec.decode(alone, 6).frames)
    assert [copy.back for copy in block.copies] == [7, 10, 12]
    for copy, sent in zip(block.copies, copies, strict=True):
        away = TABLES.quantizer.coordinates((copy.frame - sent.frame)[None] + track[:1], QUALITY + 4)
        assert np.abs(away - TABLES.quantizer.coordinates(track[:1], QUALITY + 4)).max() <= 0.7


def test_frames_between_copies_are_interpolated() -> None:
    frames = {7: np.full(60, 6.0, np.float32), 10: np.zeros(60, np.float32), 14: np.ones(60, np.float32)}
    filled = filled_copies(20, [Copy(back, frame) for back, frame in frames.items()])
    assert {number: float(frame[0]) for number, frame in sorted(filled.items())} == {
        6: 1,
        10: 0,
        11: 2,
        12: 4,
        13: 6,
    }
    assert filled_copies(5, [Copy(7, frames[7])]) == {}


def test_the_bytes_are_the_same_on_every_machine() -> None:
    """Shipped tables, quantizer points for input: neither a BLAS nor a rounding mode has a say."""
    codec, track = CodedCodec(TABLES), lively(11, 12)
    payload = codec.encode(Block(track[6:], [Copy(1, track[5]), Copy(4, track[2])]))
    block = codec.decode(payload, 6)
    digest = hashlib.sha256(payload)
    digest.update(block.frames.astype("<f4").tobytes())
    digest.update(np.stack([copy.frame for copy in block.copies]).astype("<f4").tobytes())
    assert (codec.tables, len(payload), digest.hexdigest()[:16]) == GOLDEN


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3, 6, 32])
def test_mutated_payloads_are_refused_or_decode_to_sound_numbers(count: int) -> None:
    """A few thousand of them; `bench fuzz` runs a million."""
    outcome = fuzz(TABLES, 1500, seed=count, count=count)
    assert outcome.refused > 1000
    assert outcome.refused + outcome.decoded == 1500


@pytest.mark.slow
def test_random_bytes_are_refused_or_decode_to_sound_numbers() -> None:
    generator = np.random.default_rng(0)
    for _ in range(1000):
        with contextlib.suppress(PeerError):
            data = generator.bytes(int(generator.integers(1, 1157)))
            block = CODEC.decode(data, int(generator.integers(-1, 40)))
            assert np.isfinite(block.frames).all()
            assert np.abs(block.frames).max() <= 1e3


def test_a_payload_that_goes_on_is_refused() -> None:
    codec = CodedCodec(TABLES)
    payload = codec.encode(Block(lively(0)))
    for other in (payload + b"\1", payload[:-1], payload[1:], b"\1"):
        with pytest.raises(PeerError):
            codec.decode(other, 6)
    for count in (5, 7, 0, -1, 33, 10**9):
        with pytest.raises(PeerError):
            codec.decode(payload, count)


def test_copies_out_of_order_are_refused() -> None:
    codec, track = CodedCodec(TABLES), lively(5, 18)
    for backs in ((10, 7), (7, 7), (0, 7)):
        payload = codec.encode(Block(track[12:], [Copy(back, track[5]) for back in backs]))
        with pytest.raises(PeerError, match="out of order"):
            codec.decode(payload, 6)


def test_more_than_a_packet_holds_is_not_coded() -> None:
    with pytest.raises(ValueError, match="33 frames"):
        CodedCodec(TABLES).encode(Block(lively(0, 33)))
    with pytest.raises(ValueError, match="16 copies"):
        CodedCodec(TABLES).encode(Block(lively(0), [Copy(n + 1, lively(0)[0]) for n in range(16)]))
    with pytest.raises(ValueError, match="quality 16"):
        CodedCodec(TABLES, 16)
