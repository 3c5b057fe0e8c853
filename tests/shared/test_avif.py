import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from shared.errors import PeerError
from shared.keypoints import Pictures
from shared.media import avif, picture

pytestmark = pytest.mark.skipif(not features.check("avif"), reason="this Pillow was built without AVIF")
WIDTH_AT = 4 + 8 + 5 + 8  # bits into the sequence header: profile, flags, level, lengths of width and height


def portrait() -> Pictures:
    y, x = np.mgrid[0:256, 0:256]
    return np.stack([x, y, 127 + 100 * np.sin(x * y / 900)], axis=-1).astype(np.uint8)


def file(size: tuple[int, int] = (256, 256), **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(portrait()).resize(size).save(out, "AVIF", **({"quality": 60, "speed": 8} | options))
    return out.getvalue()


FILE = file()
FRAME = avif.unwrap(FILE, 256)
HEADER = FRAME[4 : 4 + FRAME[3]]


def with_header(header: bytes) -> bytes:
    return FRAME[:3] + bytes((len(header),)) + header + FRAME[4 + FRAME[3] :]


def with_bits(at: int, bits: str) -> bytes:
    """The frame with bits of its sequence header replaced."""
    old = "".join(f"{byte:08b}" for byte in HEADER)
    new = old[:at] + bits + old[at + len(bits) :]
    return with_header(int(new, 2).to_bytes(len(HEADER)))


@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
def test_the_container_we_build_holds_the_same_picture(subsampling: str) -> None:
    theirs = file(subsampling=subsampling)
    bare = avif.unwrap(theirs, 256)
    assert len(bare) <= len(theirs) - 250
    ours, whole = (np.array(Image.open(io.BytesIO(data))) for data in (avif.wrap(bare, 256), theirs))
    np.testing.assert_array_equal(ours, whole)


@pytest.mark.parametrize(
    "options", [{"range": "limited"}, {"subsampling": "4:0:0"}, {"subsampling": "4:2:2"}]
)
def test_our_own_encoder_is_not_trusted_either(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="another kind of picture"):
        avif.unwrap(file(**options), 256)


@pytest.mark.parametrize("data", [b"", b"\0\0\0\1mdatx", FILE[:60]])
def test_what_is_no_file_is_not_unwrapped(data: bytes) -> None:
    with pytest.raises(ValueError, match="encoder made"):
        avif.unwrap(data, 256)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (avif.unwrap.__doc__.encode() if avif.unwrap.__doc__ else b"", "not a single AV1 frame"),
        (FRAME[:3], "not a single AV1 frame"),
        (FRAME[:8], "cut short"),
        (FRAME[:4] + bytes(len(FRAME) - 4), "main profile"),
        (FRAME[:-1], "does not end"),
        (FRAME + b"\0", "does not end"),
        (FRAME[: 4 + FRAME[3]], "not a single AV1 frame"),
        (FRAME[: 5 + FRAME[3]] + b"\xff" * 9, "does not say where it ends"),
        (FRAME[:2] + FRAME[2 : 4 + FRAME[3]] * 2 + FRAME[4 + FRAME[3] :], "not a single AV1 frame"),
        (with_bits(0, "010"), "main profile"),
        (with_bits(3, "0"), "main profile"),
        (with_bits(4, "0"), "main profile"),
        (with_bits(18, "00000000"), "1x256, not"),
        (with_bits(26, "11111110"), "256x255, not"),
        # Lengths of 16 bits each, then 65536x65536.
        (with_header(b"\x18\x3f" + b"\xff" * 8), "65536x"),
        (with_bits(40, "1"), "plain RGB"),
        (with_bits(41, "1"), "plain RGB"),
        (with_bits(42, "0"), "plain RGB"),
        (with_bits(43, "00001001"), "plain RGB"),
    ],
)
def test_a_hostile_frame_is_refused_before_anything_decodes_it(
    data: bytes, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(PeerError, match=sentence):
        avif.wrap(data, 256)
    if avif.is_frame(data):
        with pytest.raises(PeerError, match=sentence):
            picture.decode(data)


def test_film_grain_is_refused() -> None:
    # The last bit before the trailing one and its zeros.
    bits = "".join(f"{byte:08b}" for byte in HEADER)
    with pytest.raises(PeerError, match="film grain"):
        avif.wrap(with_bits(bits.rindex("1") - 1, "1"), 256)


@pytest.mark.slow
@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(FRAME) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_damaged_frame_is_a_picture_or_refused(damage: list[tuple[int, int]]) -> None:
    data = bytearray(FRAME)
    for at, value in damage:
        data[at] = value
    try:
        decoded = picture.decode(bytes(data))
    except PeerError:
        return
    assert (decoded.shape, decoded.dtype) == ((256, 256, 3), np.uint8)


@settings(max_examples=200)
@given(st.binary(max_size=300), st.integers(0, 40))
def test_any_bytes_after_a_sound_beginning_are_refused(data: bytes, kept: int) -> None:
    with pytest.raises(PeerError):
        picture.decode(FRAME[:kept] + data)
