"""A source picture as bytes: square, as a bare AV1 frame (see `shared.media.avif`), or as a JPEG."""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
from typing import Any

import numpy as np

# Or Pillow, asked for a format that it has not met yet, imports all of its forty plugins.
from PIL import AvifImagePlugin as _AvifImagePlugin  # noqa: F401
from PIL import Image, features

from shared.constants import MAX_PICTURE_BYTES, SIZE
from shared.errors import PeerError
from shared.keypoints import Pictures
from shared.media import avif, jpeg

# No WebP: Pillow allocates its canvas before the size can be looked at.
_JPEG_QUALITY = 90
# What Pillow raises on broken files, by its own documentation and by fuzzing.
_BROKEN = (
    OSError,
    RuntimeError,
    SyntaxError,
    ValueError,
    TypeError,
    struct.error,
    Image.DecompressionBombError,
)
QUALITY = 77
"""Over 16 people 5.4 kB on average, and as near to the picture as it was at 6.5 kB, encoded quicker and for
the least noise. Video rendered from that is 1.1 % worse in MAE and 2.4 % in perceptual distance than from the
picture as it is. JPEGs of 13 kB cost 0.6 and 1.2 %, of 7 kB 1.7 and 5 %; WebP of 5 kB 0.9 and 5 %."""
_MIN_QUALITY = 30
_AVIF: dict[str, Any] = {"subsampling": "4:2:0", "speed": 5, "max_threads": 1}
# libaom's alone; another encoder refuses it.
_TUNED: dict[str, Any] = {**_AVIF, "advanced": {"tune": "ssim"}}


def encode(picture: Pictures, quality: int = QUALITY) -> bytes:
    """Return the bytes of `picture` (S, S, 3), uint8 RGB, at `quality` (1 to 100).

    That is a bare AV1 frame, or a JPEG where Pillow was built without AV1, or what it makes has another form.
    Raise ValueError on another shape or type.
    """
    size = len(picture)
    if not size or picture.shape != (size, size, 3) or picture.dtype != np.uint8:
        raise ValueError(f"the picture is {picture.dtype} {picture.shape}, not uint8 (S, S, 3)")
    image = Image.fromarray(picture)
    for options in (_TUNED, _AVIF):
        with contextlib.suppress(KeyError, OSError, ValueError):
            return avif.unwrap(_saved(image, "AVIF", quality=quality, **options), size)
    return _saved(image, "JPEG", quality=_JPEG_QUALITY, subsampling="4:4:4")


def encode_within(picture: Pictures, quality: int, most_bytes: int) -> bytes:
    """Return the bytes of `picture` at `quality`, or at the first lower one that takes at most `most_bytes`.

    At the lowest tried, about 25, they are what they are.
    """
    data = encode(picture, quality)
    while len(data) > most_bytes and quality > _MIN_QUALITY:
        quality -= 10
        data = encode(picture, quality)
    return data


def decode(data: bytes, size: int = SIZE) -> Pictures:
    """Return a peer's picture (size, size, 3), uint8 RGB. Raise PeerError unless it is a sound one so large.

    Its size is known from its header before anything is allocated for its pixels, and what it may cost from
    its markers before it is decoded.
    """
    if len(data) > MAX_PICTURE_BYTES:
        raise PeerError(f"The source picture has {len(data)} bytes, over the limit of {MAX_PICTURE_BYTES}.")
    kind = "JPEG"
    if avif.is_frame(data):
        if not features.check("avif"):
            raise PeerError("The source picture is AV1; install Pillow 13 or newer to read it.")
        kind, data = "AVIF", avif.wrap(data, size)
    else:
        jpeg.check(data)
    try:
        return _decode(data, kind, size)
    except _BROKEN as error:
        raise PeerError(f"The source picture is not a readable {kind}.") from error


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def _decode(data: bytes, kind: str, size: int) -> Pictures:
    with warnings.catch_warnings():
        # The size is checked right below; Pillow's own warning about a large one would only be noise.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(io.BytesIO(data), formats=(kind,))
    with image:
        if image.size != (size, size) or image.mode != "RGB":
            width, height = image.size
            raise PeerError(f"The source picture is {width}x{height} {image.mode}, not {size}x{size} RGB.")
        return np.array(image, dtype=np.uint8)


def to_rgb(image: Image.Image) -> Image.Image:
    """Return `image` in RGB, what is transparent in it white."""
    if image.mode.startswith("I"):
        # 16 bits of grey: Pillow's conversion would clip them, not scale them.
        grey = np.asarray(image, np.int32).clip(0, 65535) // 257
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        # Under what is transparent any colour may stand.
        seen = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")
    return image.convert("RGB")
