"""Training pictures: folders of video clips, decoded once into a cache of JPEG frames that fits in memory."""

from __future__ import annotations

import hashlib
import io
import logging
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset
from tqdm import tqdm

from models.training.video import CLIP_ERRORS, find_clips, open_video, square, video_stream
from shared.errors import KeycastError, RequestError
from shared.keypoints import Pictures

FRAMES_PER_SECOND = 8.0
FRAMES_PER_CLIP = 120
_JPEG_QUALITY = 92
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clip:
    """One clip's frames as JPEG files in memory."""

    name: str
    frames: tuple[bytes, ...]

    def picture(self, index: int) -> Pictures:
        """Decode frame `index`: (256, 256, 3) uint8 RGB."""
        with Image.open(io.BytesIO(self.frames[index]), formats=["JPEG"]) as image:
            return np.asarray(image.convert("RGB"))


def load_clips(folders: Sequence[Path], cache: Path) -> list[Clip]:
    """Load every clip below `folders`, decoding only those that are not in `cache` yet.

    A clip that cannot be read, or has fewer than two frames, is skipped with a warning and counted. Raises
    RequestError when nothing is left, or `cache` cannot be written.
    """
    files = [file for _, file in find_clips(folders)]
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"Cannot write the cache {cache} ({error}); give another --cache.") from error
    clips = []
    for file in tqdm(files, desc="clips", unit="clip", leave=False):
        try:
            frames = _frames(file, cache)
        except CLIP_ERRORS as error:
            _log.warning("Skipped %s: %s", file, error)
            continue
        clips.append(Clip(file.name, frames))
    if not clips:
        names = ", ".join(map(str, folders))
        raise RequestError(f"None of the clips below {names} could be read; give folders with intact videos.")
    if len(clips) < len(files):
        _log.warning("Skipped %d of %d clips that could not be read", len(files) - len(clips), len(files))
    return clips


def _frames(file: Path, cache: Path) -> tuple[bytes, ...]:
    stat = file.stat()
    key = hashlib.sha256(f"{file.resolve()}|{stat.st_size}|{stat.st_mtime_ns}".encode()).hexdigest()[:24]
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
    with open_video(file) as container:
        stream = video_stream(container)
        stride = max(1, round(float(stream.average_rate or 25) / FRAMES_PER_SECOND))
        kept: list[bytes] = []
        for index, frame in enumerate(container.decode(stream)):
            if index % stride == 0:
                kept.append(_encode(square(frame)))
            # Not all files tell their length: thin out when there are too many.
            if len(kept) > FRAMES_PER_CLIP:
                kept, stride = kept[::2], 2 * stride
    return tuple(kept)


def _encode(picture: Pictures) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=_JPEG_QUALITY)
    return out.getvalue()


class Pairs(IterableDataset[tuple[Tensor, Tensor]]):
    """Endless random (source, driving) pairs of one clip each, (3, 256, 256) uint8.

    Clips are drawn by the square root of their length, so that neither one long clip nor many one-second
    clips of one recording dominate. A pair is mirrored and tinted alike. The stream is a function of seed,
    rank and worker.
    """

    def __init__(self, clips: Sequence[Clip], seed: int, rank: int = 0) -> None:
        super().__init__()
        self.clips = clips
        self.seed = seed
        self.rank = rank
        weights = np.sqrt([len(clip.frames) for clip in clips])
        self.weights = weights / weights.sum()

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, self.rank, worker.id if worker else 0])
        while True:
            clip = self.clips[rng.choice(len(self.clips), p=self.weights)]
            a, b = rng.choice(len(clip.frames), 2, replace=False)
            pair = np.stack([clip.picture(int(a)), clip.picture(int(b))])
            source, driving = _augment(pair, rng)
            yield torch.from_numpy(source), torch.from_numpy(driving)


def _augment(pair: Pictures, rng: np.random.Generator) -> Pictures:
    """Mirror and tint a pair (2, 256, 256, 3) alike; return (2, 3, 256, 256)."""
    if rng.random() < 0.5:
        pair = pair[:, :, ::-1]
    gain = rng.uniform(0.8, 1.2) * rng.uniform(0.93, 1.07, 3)
    table = np.clip(np.arange(256)[:, None] * gain + rng.uniform(-20, 20), 0, 255).astype(np.uint8)
    tinted = np.stack([table[pair[..., channel], channel] for channel in range(3)], axis=1)
    return np.ascontiguousarray(tinted)
