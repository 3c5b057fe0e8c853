import contextlib
import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from shared.constants import MAX_PICTURE_BYTES
from shared.errors import PeerError
from shared.keypoints import Pictures
from shared.media import avif, picture


def portrait() -> Pictures:
    y, x = np.mgrid[0:256, 0:256]
    return np.stack([x, y, (x + y) // 2], axis=-1).astype(np.uint8)


def as_jpeg(pixels: Pictures) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=90, subsampling="4:4:4")
    return out.getvalue()


GOOD = as_jpeg(portrait())


def saved(size: tuple[int, int] = (256, 256), mode: str = "RGB", kind: str = "JPEG") -> bytes:
    out = io.BytesIO()
    Image.new(mode, size).save(out, kind)
    return out.getvalue()


def test_a_picture_comes_back_nearly_as_it_was() -> None:
    data = picture.encode(portrait())
    error = np.abs(picture.decode(data).astype(int) - portrait().astype(int))
    assert error.mean() < 2
    assert len(data) < 10_000
    assert avif.is_frame(data) == features.check("avif")


@pytest.mark.slow
@pytest.mark.skipif(not features.check("avif"), reason="this Pillow was built without AVIF")
def test_a_picture_may_be_kept_within_a_number_of_bytes() -> None:
    grain = np.random.default_rng(0).normal(0, 12, (256, 256, 3))
    rough = (portrait() + grain).clip(0, 255).astype(np.uint8)
    sharp = picture.encode(rough, 55)
    assert picture.encode_within(rough, 55, len(sharp)) == sharp
    smaller = picture.encode_within(rough, 55, len(sharp) - 1)
    assert smaller == picture.encode(rough, 45)
    assert picture.encode_within(rough, 55, 1) == picture.encode(rough, 25)


@pytest.mark.parametrize("size", [64, 512])
def test_pictures_of_other_sizes_are_for_those_who_ask_for_them(size: int) -> None:
    data = picture.encode(np.full((size, size, 3), 90, np.uint8))
    assert picture.decode(data, size).shape == (size, size, 3)
    with pytest.raises(PeerError, match=f"is {size}x{size}, not 256x256"):
        picture.decode(data)
    with pytest.raises(ValueError, match="not uint8"):
        picture.encode(np.zeros((size, 2 * size, 3), np.uint8))


def test_a_jpeg_is_taken_as_well() -> None:
    error = np.abs(picture.decode(GOOD).astype(int) - portrait().astype(int))
    assert error.mean() < 2


@pytest.mark.parametrize(
    "error", [KeyError("AVIF"), OSError("encoder not available"), ValueError("another form")]
)
def test_without_av1_pictures_are_jpegs(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: bytes, __: int) -> bytes:
        raise error

    monkeypatch.setattr(avif, "unwrap", fail)
    assert picture.encode(portrait()) == GOOD


def test_without_av1_an_av1_picture_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda _: False)
    with pytest.raises(PeerError, match=r"install Pillow 13"):
        picture.decode(b"\x12\x00" + bytes(100))


def test_the_worst_picture_stays_under_the_limit() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    assert len(picture.encode(noise)) < MAX_PICTURE_BYTES


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "not a readable JPEG"),
        (b"\xff\xd8\xff", "not a readable JPEG"),
        (GOOD[: len(GOOD) // 2], "not a readable JPEG"),
        (GOOD[:200], "not a readable JPEG"),
        (saved(kind="PNG"), "not a readable JPEG"),
        (saved(kind="WEBP"), "not a readable JPEG"),
        (saved(kind="GIF"), "not a readable JPEG"),
        (saved((255, 256)), "255x256"),
        (saved((2000, 2000)), "2000x2000"),
        (saved(mode="L"), "256x256 L"),
        (saved(mode="CMYK"), "256x256 CMYK"),
        (bytes(MAX_PICTURE_BYTES + 1), "over the limit"),
    ],
)
def test_a_picture_that_is_not_ours_is_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(PeerError, match=sentence):
        picture.decode(data)


@pytest.mark.parametrize("side", [10_000, 65_535])
def test_a_header_that_promises_a_huge_picture_is_refused_without_decoding(side: int) -> None:
    small = saved()
    at = small.index(b"\xff\xc0") + 5
    with pytest.raises(PeerError):
        picture.decode(small[:at] + struct.pack(">HH", side, side) + small[at + 4 :])


@pytest.mark.slow
@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_damaged_picture_decodes_or_is_refused(damage: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for at, value in damage:
        data[at] = value
    with contextlib.suppress(PeerError):
        assert picture.decode(bytes(data)).shape == (256, 256, 3)


@settings(max_examples=200)
@given(st.binary(max_size=300), st.sampled_from([b"", GOOD[:2], GOOD[:4], GOOD[:20], GOOD[:170]]))
def test_any_bytes_decode_or_are_refused(data: bytes, head: bytes) -> None:
    with pytest.raises(PeerError):
        picture.decode(head + data)


@pytest.mark.parametrize("shape", [(256, 256), (128, 256, 3), (256, 256, 4)])
def test_another_shape_is_not_encoded(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="the picture is"):
        picture.encode(np.zeros(shape, np.uint8))


def test_another_type_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="float32"):
        picture.encode(np.zeros((256, 256, 3), np.float32))  # type: ignore[arg-type]
