"""The receiver's own picture, animated in place of the sender's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from shared.config import SIZE
from shared.errors import RequestError
from shared.keypoints import Pictures


def load_avatar(path: Path) -> Pictures:
    """Return the centre square of the picture at `path`: (256, 256, 3) uint8 RGB. Raises RequestError."""
    try:
        with Image.open(path) as image:
            square = ImageOps.fit(ImageOps.exif_transpose(image).convert("RGB"), (SIZE, SIZE))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise RequestError(f"Could not read the picture {path}: {error}.") from error
    return np.asarray(square)
