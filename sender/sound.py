"""Sound sources: a file's own sound, at the pace of its pictures. See also `sender.microphone`."""

from __future__ import annotations

import logging
from collections.abc import Generator
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError

from shared.constants import FPS
from shared.errors import RequestError
from shared.media.opus import RATE, Sound
from shared.media.video.files import open_container

# A gap between two pieces of sound that is shorter is rounding.
_LEAST_GAP = round(0.02 * RATE)

log = logging.getLogger(__name__)


class SoundSource(Protocol):
    """Sound by sample number, 48000 per second, mono: sample 1600 n is the moment of frame n."""

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
    """The sound of a video file: sample 0 is the moment of its first picture, and it loops as they do."""

    def __init__(self, path: Path, loop: bool = False) -> None:
        self._path, self._loop = path, loop
        self._video_starts, seconds = _extent(path, loop)
        self._period = round(seconds * RATE)
        self._container = _open(path)
        self._pieces = self._decode(0)
        self._held, self._first = np.zeros(0, np.int16), 0

    def begin(self, start: float) -> None:
        """Do nothing: a file's sound is where it is."""

    def read(self, first: int, count: int) -> Sound:
        """Return samples from `first` on; see `SoundSource.read`."""
        self._drop(first)
        while self._first + len(self._held) < first + count:
            piece = next(self._pieces, None)
            if piece is None:
                piece = np.zeros(first + count - self._first - len(self._held), np.int16)
            self._held = np.concatenate([self._held, piece])
            self._drop(first)
        return self._held[:count].copy()

    def close(self) -> None:
        """Close the file."""
        self._pieces.close()
        self._container.close()

    def _drop(self, first: int) -> None:
        gone = min(max(first - self._first, 0), len(self._held))
        self._held, self._first = self._held[gone:], self._first + gone

    def _decode(self, at: int) -> Generator[Sound]:
        """Yield the sound from sample `at` (where the video starts, or starts again) on, without gaps."""
        while True:
            starts = at
            try:
                for first, piece in self._placed(starts):
                    # Pieces follow each other, but for rounding; the first one stands where it says.
                    rounding = _LEAST_GAP if at > starts else 0
                    silence = np.zeros(first - at if first > at + rounding else 0, np.int16)
                    overlap = at - first if first < at - rounding else 0
                    kept = np.concatenate([silence, piece[overlap:]])
                    if self._loop:
                        kept = kept[: starts + self._period - at]
                    at += len(kept)
                    yield kept
                    if self._loop and at == starts + self._period:
                        break
            except FFmpegError as error:
                log.warning("The sound of %s is damaged and ends early (%s).", self._path, error.strerror)
            if not self._loop:
                return
            yield np.zeros(starts + self._period - at, np.int16)
            at = starts + self._period
            self._container.close()
            self._container = _open(self._path)

    def _placed(self, starts: int) -> Generator[tuple[int, Sound]]:
        """Yield pieces of sound and the number of each one's first sample."""
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        at: int | None = None
        for frame in self._container.decode(audio=0):
            if frame.time is not None:
                meant = starts + round((frame.time - self._video_starts) * RATE)
                at = meant if at is None or abs(meant - at) > _LEAST_GAP else at
            at = starts if at is None else at
            for piece in resampler.resample(frame):
                samples = np.asarray(piece.to_ndarray(), np.int16).reshape(-1)
                yield at, samples
                at += len(samples)


def _open(path: Path) -> InputContainer:
    container = open_container(path)
    if not container.streams.audio:
        container.close()
        raise RequestError(f"{path} has no sound; leave out --audio, or take the microphone: --audio mic.")
    return container


def _extent(path: Path, whole: bool) -> tuple[float, float]:
    """Return when the video's first frame stands and, where `whole`, how long it is; in seconds."""
    container = open_container(path)
    try:
        first = next((frame.time or 0.0 for frame in container.decode(video=0)), 0.0)
        if not whole:
            return first, 0.0
        stream = container.streams.video[0]
        container.seek(0)
        end = 0.0
        for packet in container.demux(stream):
            if packet.pts is not None and packet.time_base is not None:
                step = float(packet.duration * packet.time_base) if packet.duration else _step(stream)
                end = max(end, float(packet.pts * packet.time_base) - first + step)
        return first, max(end, 1 / FPS)
    except FFmpegError as error:
        raise RequestError(
            f"{path} is not a readable video ({error.strerror}); give an intact file."
        ) from error
    finally:
        container.close()


def _step(stream: av.VideoStream) -> float:
    return float(1 / stream.average_rate) if stream.average_rate else 1 / FPS
