"""JPEGs that are cheap to send and dear to decode."""

import io
import time

import numpy as np
import pytest
from PIL import Image

from shared import picture
from shared.config import MAX_PICTURE_BYTES
from shared.errors import PeerError
from shared.jpeg import MOST_SCANS, check

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8))
SECONDS = 0.02


def saved(**options: object) -> bytes:
    out = io.BytesIO()
    NOISE.save(out, "JPEG", **options)
    return out.getvalue()


PLAIN = saved(quality=50)
PROGRESSIVE = saved(quality=5, progressive=True)


def scans(count: int) -> bytes:
    """Return a progressive picture with `count` further scans that say nothing."""
    further = b"".join(bytes((0xFF, 0xDA, 0, 8, 1, 1 + n % 3, 0, 1, 63, 0)) for n in range(count))
    return PROGRESSIVE[:-2] + further + PROGRESSIVE[-2:]


def filled(segment: bytes) -> bytes:
    """Return a picture with as many of `segment` after its beginning as there may be bytes."""
    count = (MAX_PICTURE_BYTES - len(PLAIN)) // len(segment)
    return PLAIN[:2] + segment * count + PLAIN[2:]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (scans(21_737), "scans; at most"),
        (filled(b"\xff\xfe\0\2"), "segments before"),
        (filled(b"\xff\xe5\0\2"), "segments before"),
        (filled(b"\xff\xdb\0\2"), "segments before"),
        (filled(b"\xff"), "readable|segments"),
        (filled(b"\xff\xd0"), "readable|segments"),
        (filled(b"\xff\xfe\0\0"), "readable|segments"),
    ],
)
def test_a_picture_that_would_take_long_is_refused_at_once(data: bytes, reason: str) -> None:
    assert len(data) <= MAX_PICTURE_BYTES
    took = []
    for _ in range(3):
        began = time.perf_counter()
        with pytest.raises(PeerError, match=reason):
            picture.decode(data)
        took.append(time.perf_counter() - began)
    assert min(took) < SECONDS / 4


def test_what_is_let_through_is_decoded() -> None:
    few = PLAIN[:2] + b"\xff\xfe\0\2" * 40 + PLAIN[2:]
    for data in (PLAIN, saved(quality=98, subsampling="4:4:4"), few):
        check(data)
        assert picture.decode(data).shape == (256, 256, 3)
    assert PROGRESSIVE.count(b"\xff\xda") > MOST_SCANS
    with pytest.raises(PeerError, match="scans"):
        check(PROGRESSIVE)


@pytest.mark.parametrize("length", range(0, 700, 7))
def test_what_ends_early_is_refused(length: int) -> None:
    with pytest.raises(PeerError):
        picture.decode(PLAIN[:length])
