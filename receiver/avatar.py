"""The receiver's own picture, animated in place of the sender's."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from shared.config import SIZE
from shared.errors import RequestError
from shared.keypoints import Pictures


def load_avatar(path: Path) -> Pictures:
    """Return the centre square of the picture at `path`: (256, 256, 3) uint8 RGB. Raises RequestError."""
    try:
        with Image.open(path) as image:
            square = ImageOps.fit(_rgb(ImageOps.exif_transpose(image)), (SIZE, SIZE))
    # What Pillow raises on broken files, by its own documentation and by fuzzing.
    except (OSError, SyntaxError, ValueError, TypeError, struct.error, Image.DecompressionBombError) as error:
        cause = getattr(error, "strerror", None) or "it is not a picture in a known format, or damaged"
        raise RequestError(f"Cannot read the picture {path}: {cause}; give another --avatar.") from error
    return np.asarray(square)


def _rgb(image: Image.Image) -> Image.Image:
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
