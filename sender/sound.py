"""Sound sources: a file's own sound, at the pace of its pictures. See also `sender.microphone`."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Protocol

import numpy as np

from shared.constants import FPS
from shared.errors import RequestError
from shared.media.opus import RATE, Sound
from shared.media.video.files import VideoFile
from shared.media.video.sounds import MIN_GAP, SoundFile


class SoundSource(Protocol):
    """Sound by sample number, 48000 per second, mono: sample 1600 n is the moment of frame n."""

    lag: float
    """Seconds from the moment of a sample until it can be read."""

    def begin(self, start: float) -> None:
        """Take note that frame 0 was at `start` (monotonic seconds)."""
        ...

    def read(self, first: int, count: int) -> Sound:
        """Return samples `first` to `first + count - 1`; what there is no sound for is silent.

        `first` never falls from one call to the next, and may jump ahead.
        """
        ...

    def close(self) -> None:
        """Give the source back. Safe to call again."""
        ...


class FileSound:
    """The sound of a video file: sample 0 is the moment of its first picture, and it loops as they do.

    With two `channels` it is (N, 2).
    """

    lag = 0.0

    def __init__(self, path: Path, loop: bool = False, channels: int = 1) -> None:
        self._path, self._loop, self._channels = path, loop, channels
        self._video_starts, seconds = _extent(path, loop)
        self._period = round(seconds * RATE)
        self._file = SoundFile(path, self._video_starts, channels)
        self._pieces = self._follow()
        self._held, self._first = self._silence(0), 0

    def begin(self, start: float) -> None:
        """Do nothing: a file's sound is where it is."""

    def read(self, first: int, count: int) -> Sound:
        """Return samples from `first` on; see `SoundSource.read`."""
        self._drop(first)
        while self._first + len(self._held) < first + count:
            piece = next(self._pieces, None)
            if piece is None:
                piece = self._silence(first + count - self._first - len(self._held))
            self._held = np.concatenate([self._held, piece])
            self._drop(first)
        return self._held[:count].copy()

    def close(self) -> None:
        """Close the file."""
        self._pieces.close()
        self._file.close()

    def _silence(self, count: int) -> Sound:
        return np.zeros(count if self._channels == 1 else (count, self._channels), np.int16)

    def _drop(self, first: int) -> None:
        gone = min(max(first - self._first, 0), len(self._held))
        self._held, self._first = self._held[gone:], self._first + gone

    def _follow(self) -> Generator[Sound]:
        """Yield the sound from sample 0 (where the video starts) on, without gaps; in a loop, for ever."""
        at = 0
        while True:
            starts = at
            while (placed := self._file.read()) is not None:
                first, piece = starts + placed[0], placed[1]
                # The first piece stands where it says; those after it, but for rounding, follow.
                rounding = MIN_GAP if at > starts else 0
                silence = self._silence(first - at if first > at + rounding else 0)
                overlap = at - first if first < at - rounding else 0
                kept = np.concatenate([silence, piece[overlap:]])
                if self._loop:
                    kept = kept[: starts + self._period - at]
                at += len(kept)
                yield kept
                if self._loop and at == starts + self._period:
                    break
            if not self._loop:
                return
            yield self._silence(starts + self._period - at)
            at = starts + self._period
            self._file.close()
            self._file = SoundFile(self._path, self._video_starts, self._channels, quiet=True)


def _extent(path: Path, whole: bool) -> tuple[float, float]:
    """Return when the video's first frame stands and, where `whole`, how long it is; in seconds."""
    video = VideoFile(path, quiet=True)
    try:
        if video.read() is None:
            raise RequestError(f"The video in {path} has no readable frame; give an intact file.")
        return video.starts, max(video.length(), 1 / FPS) if whole else 0.0
    finally:
        video.close()
