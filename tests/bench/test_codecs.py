"""Ordinary codecs really code and decode; packets are counted; what is missing is said."""

from __future__ import annotations

import os
from dataclasses import replace

import av
import numpy as np
import pytest

from bench.harness.metrics import mae
from bench.rd.codecs import (
    CODECS,
    MAX_PAYLOAD,
    PACKET_OVERHEAD,
    VideoCodec,
    code,
    packets,
    wire_bytes,
    without_delimiter,
    without_sei,
)
from sender.demo import pose_at
from shared.errors import KeycastError
from shared.keypoints import Pictures
from shared.portrait.portrait import Portrait

X264, _, VP9, _ = CODECS


@pytest.fixture(scope="module")
def frames() -> list[Pictures]:
    portrait = Portrait()
    return [portrait.draw(pose_at(n / 10)) for n in range(8)]


def test_packets_hold_at_most_1200_bytes_and_each_costs_50() -> None:
    assert MAX_PAYLOAD + PACKET_OVERHEAD == 1200
    assert [packets(size) for size in (0, 1, 1150, 1151, 2300, 2301)] == [0, 1, 1, 2, 2, 3]
    assert wire_bytes([2301, 0, 7]) == 2308 + 4 * 50


@pytest.mark.slow
@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_a_codec_gives_every_frame_back_at_the_size_it_says(
    codec: VideoCodec, frames: list[Pictures]
) -> None:
    if problem := codec.missing():
        pytest.skip(problem)
    coded = code(codec, frames, 10, 100)
    assert len(coded.sizes) == len(coded.frames) == len(frames)
    assert coded.frames.shape == (8, 256, 256, 3)
    assert coded.frames.dtype == np.uint8
    # One key frame, and differences after it.
    assert coded.sizes[0] == max(coded.sizes)
    assert coded.payload_bytes == sum(coded.sizes) < 8 * 256 * 256
    assert coded.wire_bytes == wire_bytes(coded.sizes)
    # Each comes back as itself, not as a neighbour.
    for number, picture in enumerate(coded.frames):
        errors = [mae(picture, frame) for frame in frames]
        assert int(np.argmin(errors)) == number
        assert errors[number] < 0.05


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="needs Linux")
@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_a_codec_takes_no_priority_over_others(codec: VideoCodec, frames: list[Pictures]) -> None:
    """SVT-AV1 does, as root: what is measured after it would be measured in real time."""
    if problem := codec.missing():
        pytest.skip(problem)
    before = os.sched_getscheduler(0)
    code(codec, frames[:2], 10, 100)
    assert os.sched_getscheduler(0) == before


def test_more_bits_make_better_pictures(frames: list[Pictures]) -> None:
    if problem := X264.missing():
        pytest.skip(problem)
    few, many = code(X264, frames, 10, 10), code(X264, frames, 10, 300)
    assert few.payload_bytes < many.payload_bytes
    assert np.mean([mae(*p) for p in zip(few.frames, frames, strict=True)]) > 1.5 * np.mean(
        [mae(*p) for p in zip(many.frames, frames, strict=True)]
    )


def test_what_an_encoder_says_about_itself_does_not_travel(frames: list[Pictures]) -> None:
    if problem := X264.missing():
        pytest.skip(problem)
    trimmed, whole = code(X264, frames, 10, 100), code(replace(X264, trim=bytes), frames, 10, 100)
    assert 400 < whole.sizes[0] - trimmed.sizes[0] < 1000
    assert trimmed.sizes[1:] == whole.sizes[1:]
    np.testing.assert_array_equal(trimmed.frames, whole.frames)


def test_units_and_delimiters_are_taken_off_and_nothing_else() -> None:
    first, note, picture = b"\0\0\0\1\x67abc", b"\0\0\1\x06note", b"\0\0\0\1\x65data\0\0\3x"
    assert without_sei(first + note + picture) == first + picture
    assert without_sei(picture) == picture
    assert without_delimiter(b"\x12\x00\x0a\x01") == b"\x0a\x01"
    assert without_delimiter(b"\x0a\x12\x00") == b"\x0a\x12\x00"


def test_a_codec_that_is_not_there_says_so() -> None:
    assert replace(X264, encoder="libnothing").missing() == (
        f"x264 was left out: the installed PyAV {av.__version__} has no libnothing."
    )
    # An encoder is no decoder.
    assert "has no libx264" in str(replace(X264, decoder="libx264").missing())


def test_a_codec_that_fails_is_one_sentence(frames: list[Pictures]) -> None:
    if problem := X264.missing():
        pytest.skip(problem)
    with pytest.raises(KeycastError, match="x264 failed at 10 kbps"):
        code(replace(X264, options={"preset": "nonsense"}), frames, 10, 10)


def test_frames_that_a_codec_drops_do_not_pass_unseen(frames: list[Pictures]) -> None:
    if problem := VP9.missing():
        pytest.skip(problem)
    starved = {"drop-threshold": "100", "minrate": "2k", "maxrate": "2k", "bufsize": "1k"}
    with pytest.raises(KeycastError, match="pictures of 8 frames"):
        code(replace(VP9, options={**VP9.options, **starved}), frames, 30, 2)
