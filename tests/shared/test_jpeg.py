"""JPEGs that are cheap to send and dear to decode."""

import io
import struct
import time

import numpy as np
import pytest
from PIL import Image

from shared.constants import MAX_PICTURE_BYTES
from shared.errors import PeerError
from shared.media import picture
from shared.media.jpeg import MAX_SCANS, check

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


def segment(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, kind, 2 + len(body)) + body


def hidden(body: bytes) -> bytes:
    """Return `body` in what looks like segments, of a marker that has no length: libjpeg reads on in them."""
    return b"".join(segment(0xD0, body[at : at + 60_000]) for at in range(0, len(body), 60_000))


def spoken(fields: int) -> bytes:
    """Return a picture about which a camera would have so much to say (Exif, a TIFF directory)."""
    entries = b"".join(struct.pack(">HHI4s", 1000 + n, 3, 1, bytes(4)) for n in range(fields))
    said = b"MM\0*\0\0\0\x08" + struct.pack(">H", fields) + entries + bytes(4)
    pieces = (said[at : at + 65_000] for at in range(0, len(said), 65_000))
    tables = PLAIN.index(b"\xff\xdb")
    return PLAIN[:2] + b"".join(segment(0xE1, b"Exif\0\0" + piece) for piece in pieces) + PLAIN[tables:]


def filled(segment: bytes) -> bytes:
    """Return a picture with as many of `segment` after its beginning as there may be bytes."""
    count = (MAX_PICTURE_BYTES - len(PLAIN)) // len(segment)
    return PLAIN[:2] + segment * count + PLAIN[2:]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (scans(21_737), "scans; at most"),
        (filled(b"\xff\xfe\0\2"), "before its first scan"),
        (filled(b"\xff\xe5\0\2"), "before its first scan"),
        (filled(b"\xff\xdb\0\2"), "before its first scan"),
        (filled(b"\xff"), "readable"),
        (filled(b"\xff\xd0"), "readable"),
        (filled(b"\xff\xfe\0\0"), "readable"),
        (PLAIN[:2] + hidden(scans(20_000)[2:-2]) + scans(1)[-12:], "readable"),
        (PLAIN[:2] + hidden(b"\xff\xfe\0\2" * 55_000) + PLAIN[2:], "readable"),
        (PLAIN[:2] + segment(0xF0, b"\xff\xf0" * 30_000) + PLAIN[2:], "readable"),
        (spoken(19_000), "before its first scan"),
        (PLAIN[:2] + segment(0xDB, (b"\0" + b"\1" * 64) * 1000) * 3 + PLAIN[2:], "before its first scan"),
    ],
)
def test_a_picture_that_would_take_long_is_refused_at_once(data: bytes, reason: str) -> None:
    assert len(data) <= MAX_PICTURE_BYTES
    took = []
    for _ in range(3):
        began = time.thread_time()
        with pytest.raises(PeerError, match=reason):
            picture.decode(data)
        took.append(time.thread_time() - began)
    assert min(took) < SECONDS / 4


def test_what_is_let_through_is_decoded() -> None:
    few = PLAIN[:2] + b"\xff\xfe\0\2" * 40 + PLAIN[2:]
    for data in (PLAIN, saved(quality=98, subsampling="4:4:4"), few):
        check(data)
        assert picture.decode(data).shape == (256, 256, 3)
    assert PROGRESSIVE.count(b"\xff\xda") > MAX_SCANS
    with pytest.raises(PeerError, match="scans"):
        check(PROGRESSIVE)


@pytest.mark.parametrize("length", range(0, 700, 7))
def test_what_ends_early_is_refused(length: int) -> None:
    with pytest.raises(PeerError):
        picture.decode(PLAIN[:length])
