"""One pass over the sound of a video file, placed against its pictures, whatever is wrong with it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.error import FFmpegError

from shared.errors import RequestError
from shared.media.opus import RATE, Sound
from shared.media.video.files import VideoFile, clock_jumps, open_container, packets
from shared.media.video.timeline import has_jumped
from shared.runtime.logs import logger

# A gap between two pieces that is shorter is rounding.
MIN_GAP = round(0.02 * RATE)
LAYOUTS = {1: "mono", 2: "stereo"}

_log = logger("video")


class NoSoundError(RequestError):
    """The file has no sound."""


class SoundFile:
    """Pieces of the sound in the file at `path`, in their order; sample 0 is at the file's time `starts`.

    48000 samples a second: (N,), int16, for one of `channels`, (N, 2) for two, whatever the file has, also
    where that changes midway. What cannot be decoded is left out and counted. NoSoundError without any.
    """

    def __init__(self, path: Path, starts: float, channels: int = 1, quiet: bool = False) -> None:
        self._path, self._channels, self._quiet = path, channels, quiet
        self._container = open_container(path)
        stream = self._container.streams.best("audio")
        if not isinstance(stream, AudioStream):
            self._container.close()
            raise NoSoundError(f"{path} has no sound; leave out --audio, or use the microphone: --audio mic.")
        self._stream = stream
        self._zero = starts
        self._later_zeros: Iterator[float] | None = None
        self._last: tuple[float, float] | None = None
        self._pieces = self._read()
        self.damaged = 0
        """How many pieces could not be decoded so far."""

    def read(self) -> tuple[int, Sound] | None:
        """Return the next piece and its first sample's number, which may be negative; None at the end."""
        return next(self._pieces, None)

    def close(self) -> None:
        """Close the file. Safe to call again."""
        self._pieces.close()
        self._container.close()

    def _read(self) -> Generator[tuple[int, Sound]]:
        resampler = _Resampler(self._channels)
        at = 0
        begun = False
        try:
            for frame in self._decoded():
                meant = round(RATE * self._placed(frame, at / RATE))
                # Pieces follow each other, but for rounding.
                at = meant if abs(meant - at) > MIN_GAP or not begun else at
                begun = True
                for piece in resampler.take(frame):
                    yield at, piece
                    at += len(piece)
            for piece in resampler.rest():
                yield at, piece
        finally:
            if self.damaged and not self._quiet:
                pieces = "a damaged piece" if self.damaged == 1 else f"{self.damaged} damaged pieces"
                _log.warning("%s: %s of its sound skipped; it is silent meanwhile.", self._path, pieces)

    def _placed(self, frame: av.AudioFrame, end: float) -> float:
        """Return where `frame` stands, where what came before ends at `end`."""
        if frame.time is None:
            return end
        time, length = frame.time, frame.samples / frame.sample_rate
        if self._last is not None:
            last, ended = self._last
            if has_jumped(time, last, ended, clock_jumps(self._container)):
                if self._later_zeros is None:
                    # As the pictures are placed, whose clock jumps at the same moments.
                    self._later_zeros = _later_zeros(self._path)
                self._zero = next(self._later_zeros, time - end)
        self._last = time, time + length
        return time - self._zero

    def _decoded(self) -> Iterator[av.AudioFrame]:
        for packet in packets(self._container, self._stream, self._damage):
            try:
                yield from packet.decode()
            except FFmpegError:
                self._damage()

    def _damage(self) -> None:
        self.damaged += 1


def _later_zeros(path: Path) -> Iterator[float]:
    video = VideoFile(path, quiet=True)
    zeros = list(video.clocks())
    video.close()
    return iter(zeros[1:])


class _Resampler:
    """Brings frames of any rate and any channels to ours."""

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._form: object = None
        self._inner = self._new()

    def take(self, frame: av.AudioFrame) -> Iterator[Sound]:
        form = frame.format.name, frame.layout.name, frame.sample_rate
        if form != self._form and self._form is not None:
            yield from self.rest()
            self._inner = self._new()
        self._form = form
        yield from map(self._samples, self._inner.resample(frame))

    def rest(self) -> Iterator[Sound]:
        if self._form is not None:
            yield from map(self._samples, self._inner.resample(None))

    def _new(self) -> av.AudioResampler:
        return av.AudioResampler(format="s16", layout=LAYOUTS[self._channels], rate=RATE)

    def _samples(self, frame: av.AudioFrame) -> Sound:
        samples = np.asarray(frame.to_ndarray(), np.int16).reshape(-1)
        return samples if self._channels == 1 else samples.reshape(-1, self._channels)
