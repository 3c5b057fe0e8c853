"""Clips to train on: folders of videos, decoded once into a cache of JPEG frames.

The cache is mapped, not read: processes of one machine share its pages, and it may be larger than memory.
"""

from __future__ import annotations

import hashlib
import io
import logging
import tempfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from tqdm import tqdm

from models.clips.layouts import find_clips, signature
from models.clips.people import person_of, read_people
from models.clips.video import CLIP_ERRORS, open_clip
from models.landmarks.kept import FRAMES_PER_CLIP, first_stride
from shared.constants import SIZE
from shared.errors import KeycastError, RequestError
from shared.keypoints import Pictures

_JPEG_QUALITY = 92
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clip:
    """One clip's frames as JPEG files, and who is in it."""

    name: str
    frames: Sequence[bytes]
    person: str = ""

    def picture(self, index: int) -> Pictures:
        """Decode frame `index`: (256, 256, 3) uint8 RGB."""
        return decode_jpeg(self.frames[index])


def decode_jpeg(data: bytes) -> Pictures:
    """Decode a JPEG file: (H, W, 3) uint8 RGB."""
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        return np.asarray(image.convert("RGB"))


def fill_cache(folders: Sequence[Path], cache: Path, rank: int, size: int) -> None:
    """Decode process `rank`'s share, of `size`, of what `load_clips` will want; it reports what is broken."""
    files = find_clips(folders)
    _make(cache)
    for _, file in files[rank::size]:
        with suppress(*CLIP_ERRORS):
            _frames(file, cache)


def load_clips(folders: Sequence[Path], cache: Path) -> list[Clip]:
    """Load every clip below `folders`, decoding only those that are not in `cache` yet.

    A clip that cannot be read, or has fewer than two frames, is skipped with a warning and counted. Raises
    RequestError when nothing is left, or `cache` cannot be written.
    """
    files = find_clips(folders)
    people = {folder: read_people(folder) for folder in folders}
    _make(cache)
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
    for file in sorted(file for file in folder.glob("*") if file.suffix.lower() in (".jpg", ".jpeg")):
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


def square(still: bytes) -> Pictures:
    """Decode the middle square of a JPEG file, as training sees it: (256, 256, 3) uint8 RGB."""
    return np.asarray(ImageOps.fit(Image.fromarray(decode_jpeg(still)), (SIZE, SIZE)))


def _make(cache: Path) -> None:
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"Cannot write the cache {cache} ({error}); choose another --cache.") from error


class StoredFrames(Sequence[bytes]):
    """The JPEG files of a cache entry, read from the disk as they are asked for.

    An entry is an .npy file of int64 and bytes: the checksum of what follows, the number of files, the size
    of each, the files. Raises ValueError or OSError where it is damaged. Pickled as its path: a process that
    gets it does not read all of it again to check it.
    """

    def __init__(self, path: Path, *, checked: bool = False) -> None:
        self.path = path
        self._bytes: npt.NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
        if self._bytes.dtype != np.uint8 or self._bytes.ndim != 1 or len(self._bytes) < 16:
            raise ValueError("it is not a cache entry")
        checksum, count = self._bytes[:16].view(np.int64).tolist()
        sizes = self._bytes[16 : 16 + 8 * count].view(np.int64) if 0 < count <= len(self._bytes) else []
        self._ends = 16 + 8 * count + np.cumsum(sizes, dtype=np.int64)
        if not len(sizes) or self._ends[-1] != len(self._bytes):
            raise ValueError("its checksum is wrong")
        if not checked and zlib.crc32(self._bytes[8:]) != checksum:
            raise ValueError("its checksum is wrong")

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        start = int(self._ends[place - 1]) if place else 16 + 8 * len(self)
        return self._bytes[start : int(self._ends[place])].tobytes()

    def __reduce__(self) -> tuple[Callable[[Path], StoredFrames], tuple[Path]]:
        return _checked_before, (self.path,)


def _checked_before(path: Path) -> StoredFrames:
    """Return frames that another process has checked."""
    return StoredFrames(path, checked=True)


def _frames(file: Path, cache: Path) -> StoredFrames:
    key = hashlib.sha256(signature(file).encode()).hexdigest()[:24]
    stored = cache / f"{key}.npy"
    frames = _read_cache(stored)
    if frames is None:
        decoded = _decode(file)
        if len(decoded) < 2:
            raise ValueError("it has fewer than two frames")
        _write_cache(stored, decoded)
        frames = StoredFrames(stored)
    return frames


def _read_cache(stored: Path) -> StoredFrames | None:
    """Return the frames of a cache entry; None where there is none, or it is damaged."""
    if not stored.exists():
        return None
    try:
        return StoredFrames(stored)
    except (OSError, EOFError, ValueError) as error:
        _log.warning("Decoding again, as the cache entry %s is damaged: %s", stored, error)
        return None


def _write_cache(stored: Path, frames: Sequence[bytes]) -> None:
    sizes = np.array([len(frames), *(len(frame) for frame in frames)], np.int64)
    body = sizes.tobytes() + b"".join(frames)
    whole = np.frombuffer(np.int64(zlib.crc32(body)).tobytes() + body, np.uint8)
    try:
        # A place of its own: the processes of one run may decode the same clip at the same time.
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=stored.parent) as temporary:
            np.save(Path(temporary, stored.name), whole)
            Path(temporary, stored.name).replace(stored)
    except OSError as error:
        raise KeycastError(f"Cannot write the cache entry {stored} ({error}); free some space.") from error


def _decode(file: Path) -> tuple[bytes, ...]:
    """Return the frames that `models.landmarks.kept` names: eight per second, at most 120 in all."""
    with open_clip(file) as (rate, frames):
        stride = first_stride(rate)
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
