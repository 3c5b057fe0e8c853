"""Training pictures: folders of video clips, decoded once into a cache of JPEG frames that fits in memory."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset
from tqdm import tqdm

from shared.config import SIZE
from shared.errors import RequestError
from shared.keypoints import Pictures

VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".webm")
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
    RequestError when nothing is left.
    """
    files = [f for folder in folders for f in sorted(Path(folder).rglob("*")) if f.suffix.lower() in VIDEO_SUFFIXES]
    cache.mkdir(parents=True, exist_ok=True)
    clips, broken = [], 0
    for file in tqdm(files, desc="clips", unit="clip", leave=False):
        try:
            frames = _cached_frames(file, cache)
        except (av.FFmpegError, OSError, ValueError, KeyError) as error:
            _log.warning("Skipped %s: %s", file, error)
            broken += 1
            continue
        if len(frames) < 2:
            _log.warning("Skipped %s: it has fewer than two frames", file)
            broken += 1
            continue
        clips.append(Clip(file.name, frames))
    if broken:
        _log.warning("Skipped %d of %d clips that could not be read", broken, len(files))
    if not clips:
        raise RequestError(f"No readable video clip below {', '.join(map(str, folders))}; give a folder with videos.")
    return clips


def _cached_frames(file: Path, cache: Path) -> tuple[bytes, ...]:
    stat = file.stat()
    key = hashlib.sha256(f"{file.resolve()}|{stat.st_size}|{stat.st_mtime_ns}".encode()).hexdigest()[:24]
    stored = cache / f"{key}.npz"
    if stored.exists():
        with np.load(stored, allow_pickle=False) as archive:
            return _split(archive["data"].tobytes(), archive["sizes"])
    frames = tuple(_encode(picture) for picture in _sparse_frames(file))
    partial = stored.with_suffix(".part")
    with partial.open("wb") as out:
        np.savez(out, data=np.frombuffer(b"".join(frames), np.uint8), sizes=np.array([len(f) for f in frames]))
    partial.rename(stored)
    return frames


def _split(data: bytes, sizes: np.ndarray) -> tuple[bytes, ...]:
    ends = np.cumsum(sizes)
    if len(ends) and ends[-1] != len(data):
        raise ValueError("its cache entry is damaged; delete the cache folder")
    return tuple(data[end - size : end] for end, size in zip(ends, sizes, strict=True))


def _encode(picture: Pictures) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=_JPEG_QUALITY)
    return out.getvalue()


def _sparse_frames(file: Path) -> Iterator[Pictures]:
    """Yield about eight frames a second, at most 120 in all, spread over the clip, each 256x256."""
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        rate = float(stream.average_rate or 25)
        length = stream.frames or 0
        stride = max(1, round(rate / FRAMES_PER_SECOND), -(-length // FRAMES_PER_CLIP))
        for index, frame in enumerate(container.decode(stream)):
            if index % stride == 0:
                yield frame.reformat(width=SIZE, height=SIZE, format="rgb24").to_ndarray()


class Pairs(IterableDataset[tuple[Tensor, Tensor]]):
    """Endless random (source, driving) pairs of one clip each, (3, 256, 256) uint8.

    Clips are drawn by the square root of their length, so that neither one long clip nor many one-second clips of
    one recording dominate. A pair is mirrored and tinted alike. The stream is a function of seed, rank and worker.
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
