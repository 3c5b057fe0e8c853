"""The receiver's own picture, animated in place of the sender's."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from shared.errors import RequestError
from shared.keypoints import Pictures
from shared.media.picture import to_rgb


def load_avatar(path: Path, size: int) -> Pictures:
    """Return the centre square of the picture at `path`: (size, size, 3) uint8 RGB. Raises RequestError."""
    try:
        with Image.open(path) as image:
            square = ImageOps.fit(to_rgb(ImageOps.exif_transpose(image)), (size, size))
    # What Pillow raises on broken files, by its own documentation and by fuzzing.
    except (OSError, SyntaxError, ValueError, TypeError, struct.error, Image.DecompressionBombError) as error:
        cause = getattr(error, "strerror", None) or "it is not a picture in a known format, or damaged"
        raise RequestError(f"Cannot read the picture {path}: {cause}; give another --avatar.") from error
    return np.asarray(square)
