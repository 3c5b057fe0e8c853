"""Picture files of the user's as cameras, editors and the web leave them: upright, RGB, the first frame."""

from __future__ import annotations

import importlib
import io
import struct
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps

from shared.errors import RequestError
from shared.keypoints import Pictures
from shared.media.picture import to_rgb

HEIF_PLUGINS = ("pillow_heif", "pi_heif")
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
# What Pillow raises on broken files besides OSError, by its own documentation and by fuzzing.
_BROKEN = (SyntaxError, ValueError, TypeError, struct.error, Image.DecompressionBombError)
_HEAD_BYTES = 64
_NO_PICTURE = "it is damaged, or not a picture in a known format"


class NotAPictureError(RequestError):
    """The file is there and can be read, and is no picture; it may be a video."""


def read_still(path: Path, option: str) -> Pictures:
    """Return the picture at `path` (H, W, 3), uint8 RGB, as a viewer shows it.

    Turned as its camera noted, in sRGB where it names a colour space, white where it is transparent, and of
    an animation the first frame. RequestError where it cannot be read, which asks for another `option`.
    """
    try:
        if _is_heif(_head(path)) and not _reads_heif():
            raise RequestError(
                f"Cannot read the picture {path}: it is HEIC, which many phones use; run: pip install "
                f"pillow-heif, or convert it to JPEG for {option}."
            )
        with warnings.catch_warnings():
            # Phones take pictures of over 90 million pixels; only from 180 on it is an error.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return np.asarray(to_rgb(_in_srgb(ImageOps.exif_transpose(image))), np.uint8)
    except OSError as error:
        if error.strerror is not None:
            raise _unreadable(path, error.strerror, option, RequestError) from error
        raise _unreadable(path, _NO_PICTURE, option, NotAPictureError) from error
    except _BROKEN as error:
        raise _unreadable(path, _NO_PICTURE, option, NotAPictureError) from error


def _unreadable(path: Path, cause: str, option: str, kind: type[RequestError]) -> RequestError:
    return kind(f"Cannot read the picture {path}: {cause}; give another {option}.")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _is_heif(head: bytes) -> bool:
    """Say whether a file that begins so is HEIC: ISO/IEC 23008-12, not AVIF, which Pillow reads itself."""
    if head[4:8] != b"ftyp":
        return False
    brands = {head[at : at + 4] for at in (8, *range(16, min(len(head), int.from_bytes(head[:4], "big")), 4))}
    return bool(brands & _HEIF_BRANDS)


def _reads_heif() -> bool:
    for name in HEIF_PLUGINS:
        with suppress(ImportError):
            importlib.import_module(name).register_heif_opener()
            return True
    return False


def _in_srgb(image: Image.Image) -> Image.Image:
    """Return `image` with the colours that its profile means; as it is where it has none that is sound."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "CMYK", "L"):
        return image
    with suppress(ImageCms.PyCMSError, OSError, ValueError):
        named = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        seen = ImageCms.profileToProfile(image, named, ImageCms.createProfile("sRGB"), outputMode="RGB")
        return image if seen is None else seen
    return image
