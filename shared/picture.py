"""The source picture as bytes: a 256x256 JPEG, sent once a call."""

from __future__ import annotations

import io
import struct
import warnings

import numpy as np
from PIL import Image

from shared.config import MAX_PICTURE_BYTES, SIZE
from shared.errors import PeerError
from shared.keypoints import Pictures

# JPEG only: Pillow reads its header without touching pixels, while opening a WebP allocates its whole canvas.
_FORMATS = ("JPEG",)
_QUALITY = 90


def encode(picture: Pictures) -> bytes:
    """Return the bytes of `picture` (256, 256, 3), uint8 RGB. Raise ValueError on another shape or type."""
    if picture.shape != (SIZE, SIZE, 3) or picture.dtype != np.uint8:
        raise ValueError(f"the picture is {picture.dtype} {picture.shape}, not uint8 ({SIZE}, {SIZE}, 3)")
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=_QUALITY, subsampling="4:4:4")
    return out.getvalue()


def decode(data: bytes) -> Pictures:
    """Return a peer's picture (256, 256, 3), uint8 RGB. Raise PeerError unless it is a sound 256x256 JPEG."""
    if len(data) > MAX_PICTURE_BYTES:
        raise PeerError(f"The source picture has {len(data)} bytes, over the limit of {MAX_PICTURE_BYTES}.")
    try:
        return _decode(data)
    # What Pillow raises on broken files, by its own documentation and by fuzzing.
    except (OSError, SyntaxError, ValueError, TypeError, struct.error, Image.DecompressionBombError) as error:
        raise PeerError("The source picture is not a readable JPEG.") from error


def _decode(data: bytes) -> Pictures:
    with warnings.catch_warnings():
        # The size is checked right below; Pillow's own warning about a large one would only be noise.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    with image:
        if image.size != (SIZE, SIZE) or image.mode != "RGB":
            width, height = image.size
            raise PeerError(f"The source picture is {width}x{height} {image.mode}, not {SIZE}x{SIZE} RGB.")
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
