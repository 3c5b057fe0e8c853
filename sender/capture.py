"""Picture sources: a camera, a video file, or the portrait that the project draws itself."""

from __future__ import annotations

import logging
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError

from sender.camera import CameraSource, open_camera
from sender.cameras import SameCamera
from sender.crop import CentreSquare, Framing
from sender.demo import DemoSource
from shared.constants import FPS
from shared.errors import KeycastError, RequestError
from shared.keypoints import Pictures

MAX_SIDE = 8192
FIRST_S, FIRST_STEP_S = 1.0, 0.2
"""A file's pictures that the framing begins with: their seconds, and those between two."""
CHOICES = "cam0, cam1, a device such as /dev/video0, a video file, or demo"
_CAMERA = re.compile(r"(?:cam|/dev/video)(\d{1,3})")
# The last frame of a file without a stated rate, and the step where a frame carries no time.
_FALLBACK_STEP_S = 1 / FPS
# Many files round their times to milliseconds; a difference this small is rounding, not time.
_EPSILON_S = 2e-3

log = logging.getLogger(__name__)


class VideoSource(Protocol):
    """Pictures by frame number, 30 per second. One thread owns a source."""

    live: bool
    """Whether frames come as time passes, so that none may be asked for ahead of it."""

    def frame(self, n: int) -> Pictures | None:
        """Return the picture (256, 256, 3), uint8 RGB, due at n / 30 s; None past the end.

        `n` never falls from one call to the next, and may jump ahead. Raises KeycastError where the source
        fails on the way.
        """
        ...

    def close(self) -> None:
        """Give the source back. Safe to call again."""
        ...


def open_source(spec: str, framing: Framing | None = None, loop: bool = False) -> VideoSource:
    """Open "cam0", "/dev/video0", "demo" or a video file; the centre square is shown by default.

    `loop` starts a file again at its end, and lets the demo run for ever. Raises RequestError, in one
    sentence, where there is nothing to open.
    """
    if spec == "demo":
        return DemoSource(seconds=None) if loop else DemoSource()
    path, device = Path(spec), _camera(spec)
    if device:
        camera = open_camera(int(device[1]))
        if camera is None:
            raise RequestError(f"There is no camera {spec}, or it may not be used; choose {CHOICES}.")
        return CameraSource(camera, framing, reopen=SameCamera(int(device[1])))
    return FileSource(path, framing, loop)


def is_camera(spec: str) -> bool:
    """Say whether `open_source` takes `spec` for a camera."""
    return _camera(spec) is not None


def _camera(spec: str) -> re.Match[str] | None:
    path = Path(spec)
    return _CAMERA.fullmatch(str(path.resolve()) if path.is_char_device() else spec)


class FileSource:
    """A video file at its own pace: frame n is the last one that stands at most n / 30 s after the first."""

    live = False

    def __init__(self, path: Path, framing: Framing | None = None, loop: bool = False) -> None:
        self._path, self._framing, self._loop = path, framing or CentreSquare(), loop
        self._clip = _Clip(path)
        self._offset = 0.0
        self._ready = self._clip.read()
        self._picture: Pictures | None = None
        self._ended = False
        if self._ready is None:
            self.close()
            raise RequestError(f"The video in {path} has no readable frame; give another file.")
        self._next = self._clip.read()
        self._framing.begin(_first_pictures(path))
        # Now, so that a crop which does not fit is refused before a call begins.
        self._picture = self._convert(*self._ready)

    def frame(self, n: int) -> Pictures | None:
        """Return the picture due at n / 30 s; None past the end. See `VideoSource.frame`."""
        due = n / FPS + _EPSILON_S
        while not self._ended and self._offset + self._next_time() <= due:
            self._advance()
        if self._ended or self._ready is None:
            return None
        if self._picture is None:
            self._picture = self._convert(*self._ready)
        return self._picture

    def close(self) -> None:
        """Close the file."""
        self._clip.close()
        self._ended = True

    def _next_time(self) -> float:
        return self._clip.end if self._next is None else self._next[1]

    def _advance(self) -> None:
        self._picture = None
        if self._next is not None:
            self._ready, self._next = self._next, self._clip.read()
        elif self._loop:
            self._restart()
        else:
            self.close()

    def _restart(self) -> None:
        self._offset += self._clip.end
        self._clip.close()
        self._clip = _Clip(self._path)
        self._ready, self._next = self._clip.read(), self._clip.read()
        if self._ready is None:
            raise KeycastError(f"{self._path} could not be read a second time; was it changed?")

    def _convert(self, frame: av.VideoFrame, seconds: float) -> Pictures:
        return self._framing.apply(_upright(frame), self._offset + seconds)


def _upright(frame: av.VideoFrame) -> Pictures:
    """Return the whole picture (H, W, 3), uint8 RGB."""
    picture = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    return np.rot90(picture, frame.rotation // 90) if frame.rotation % 90 == 0 else picture


def _first_pictures(path: Path) -> Iterator[Pictures]:
    """Yield a few whole pictures from the first second of a file."""
    clip = _Clip(path)
    due = 0.0
    try:
        while due < FIRST_S and (ready := clip.read()) is not None:
            if ready[1] >= due:
                yield _upright(ready[0])
                due += FIRST_STEP_S
    finally:
        clip.close()


class _Clip:
    """One pass over a file's frames: `read` gives each with its seconds after the first, `end` the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._container = open_container(path)
        if not self._container.streams.video:
            self._container.close()
            what = "only sound" if self._container.streams.audio else "or is damaged"
            raise RequestError(f"{path} holds no video, {what}; give an intact file with a video stream.")
        self._stream = self._container.streams.video[0]
        if max(self._stream.width, self._stream.height) > MAX_SIDE:
            size = f"{self._stream.width}x{self._stream.height}"
            self._container.close()
            raise RequestError(f"The video in {path} is {size}, over {MAX_SIDE} pixels; scale it down first.")
        self._stream.thread_type = "AUTO"
        rate = self._stream.average_rate
        self._step = float(1 / rate) if rate else _FALLBACK_STEP_S
        self._frames = self._decode()
        self._first: float | None = None
        self._last = 0.0
        self.end = 0.0

    def read(self) -> tuple[av.VideoFrame, float] | None:
        frame = next(self._frames, None)
        if frame is None:
            return None
        if self._first is None:
            self._first = frame.time or 0.0
        # A frame without a time follows the one before it; one whose time runs backwards stands with it.
        seconds = self.end if frame.time is None else max(frame.time - self._first, self._last)
        length = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else 0.0
        self._last, self.end = seconds, seconds + (length if length > 0 else self._step)
        return frame, seconds

    def close(self) -> None:
        self._frames.close()
        self._container.close()

    def _decode(self) -> Generator[av.VideoFrame]:
        try:
            yield from self._container.decode(self._stream)
        except FFmpegError as error:
            log.warning(
                "%s is damaged after %.1f s and ends there (%s).", self._path, self.end, error.strerror
            )
            return
        duration = self._stream.duration
        base = self._stream.time_base
        if duration and base and float(duration * base) - self.end > 1:
            log.warning("%s is cut short: it ends after %.1f s.", self._path, self.end)


def open_container(path: Path) -> InputContainer:
    """Open a media file. Raises RequestError where there is none, or it is none."""
    if path.is_dir():
        raise RequestError(f"{path} is a folder; give a video file, or {CHOICES}.")
    if not path.is_file():
        raise RequestError(f"There is no {path}; give {CHOICES}.")
    try:
        # A playlist could otherwise make us fetch addresses.
        return av.open(str(path.absolute()), options={"protocol_whitelist": "file"})
    except FFmpegError as error:
        raise RequestError(
            f"{path} is not a readable video ({error.strerror}); give an intact file such as an mp4."
        ) from error
