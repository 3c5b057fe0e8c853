"""Clips to train on: folders of videos, decoded once into a cache of JPEG frames that fits in memory."""

from __future__ import annotations

import hashlib
import io
import logging
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from models.training.layouts import find_clips, person_of, signature
from models.training.people import read_people
from models.training.video import CLIP_ERRORS, open_clip
from shared.errors import KeycastError, RequestError
from shared.keypoints import Pictures

FRAMES_PER_SECOND = 8.0
FRAMES_PER_CLIP = 120
_JPEG_QUALITY = 92
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clip:
    """One clip's frames as JPEG files in memory, and who is in it."""

    name: str
    frames: tuple[bytes, ...]
    person: str = ""

    def picture(self, index: int) -> Pictures:
        """Decode frame `index`: (256, 256, 3) uint8 RGB."""
        return decode_jpeg(self.frames[index])


def decode_jpeg(data: bytes) -> Pictures:
    """Decode a JPEG file: (H, W, 3) uint8 RGB."""
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        return np.asarray(image.convert("RGB"))


def load_clips(folders: Sequence[Path], cache: Path) -> list[Clip]:
    """Load every clip below `folders`, decoding only those that are not in `cache` yet.

    A clip that cannot be read, or has fewer than two frames, is skipped with a warning and counted. Raises
    RequestError when nothing is left, or `cache` cannot be written.
    """
    files = find_clips(folders)
    people = {folder: read_people(folder) for folder in folders}
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"Cannot write the cache {cache} ({error}); give another --cache.") from error
    clips = []
    for folder, file in tqdm(files, desc="clips", unit="clip", leave=False):
        try:
            frames = _frames(file, cache)
        except CLIP_ERRORS as error:
            _log.warning("Skipped %s: %s", file, error)
            continue
        clips.append(Clip(file.name, frames, person_of(folder, file, people[folder])))
    if not clips:
        names = ", ".join(map(str, folders))
        raise RequestError(f"None of the clips below {names} could be read; give folders with intact videos.")
    if len(clips) < len(files):
        _log.warning("Skipped %d of %d clips that could not be read", len(files) - len(clips), len(files))
    return clips


def load_stills(folder: Path) -> list[bytes]:
    """Return the JPEG files of `folder`; a broken one is skipped with a warning. RequestError without any."""
    stills = []
    for file in sorted(folder.glob("*.jp*g")):
        try:
            data = file.read_bytes()
            decode_jpeg(data)
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            _log.warning("Skipped %s: %s", file, error)
            continue
        stills.append(data)
    if not stills:
        raise RequestError(f"There is no JPEG picture in {folder}; give a folder of portraits.")
    return stills


def _frames(file: Path, cache: Path) -> tuple[bytes, ...]:
    key = hashlib.sha256(signature(file).encode()).hexdigest()[:24]
    stored = cache / f"{key}.npz"
    frames = _read_cache(stored)
    if frames is None:
        frames = _decode(file)
        _write_cache(stored, frames)
    if len(frames) < 2:
        raise ValueError("it has fewer than two frames")
    return frames


def _read_cache(stored: Path) -> tuple[bytes, ...] | None:
    """Return the frames of a cache entry; None where there is none, or it is damaged."""
    if not stored.exists():
        return None
    try:
        # Opened here, because NumPy leaves a file that it cannot read open.
        with stored.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            data, sizes = archive["data"].tobytes(), archive["sizes"].tolist()
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        _log.warning("Decoding again what the damaged cache entry %s held: %s", stored, error)
        return None
    ends = np.cumsum(sizes, dtype=np.int64).tolist()
    return tuple(data[end - size : end] for end, size in zip(ends, sizes, strict=True))


def _write_cache(stored: Path, frames: Sequence[bytes]) -> None:
    data, sizes = np.frombuffer(b"".join(frames), np.uint8), np.array([len(frame) for frame in frames])
    try:
        # A place of its own: the processes of one run may decode the same clip at the same time.
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=stored.parent) as temporary:
            np.savez(Path(temporary, stored.name), data=data, sizes=sizes)
            Path(temporary, stored.name).replace(stored)
    except OSError as error:
        raise KeycastError(f"Cannot write the cache entry {stored} ({error}); free some space.") from error


def _decode(file: Path) -> tuple[bytes, ...]:
    """Return about eight frames a second, at most 120 in all, spread over the clip."""
    with open_clip(file) as (rate, frames):
        stride = max(1, round(rate / FRAMES_PER_SECOND))
        kept: list[bytes] = []
        for index, (_, picture) in enumerate(frames):
            if index % stride == 0:
                kept.append(_encode(picture()))
            # Not all files tell their length: thin out when there are too many.
            if len(kept) > FRAMES_PER_CLIP:
                kept, stride = kept[::2], 2 * stride
    return tuple(kept)


def _encode(picture: Pictures) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=_JPEG_QUALITY)
    return out.getvalue()
