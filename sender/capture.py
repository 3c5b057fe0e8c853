"""Picture sources: a camera, a video file, or the portrait that the project draws itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Protocol

from sender.camera import CameraSource, open_camera
from sender.cameras import SameCamera
from sender.crop import CentreSquare, Framing, Holding
from sender.demo import DEMOS, SECONDS, DemoSource
from shared.constants import FPS, SIZE
from shared.errors import KeycastError, RequestError
from shared.keypoints import Pictures
from shared.media.video.files import CHOICES, Frame, VideoFile

FIRST_S, FIRST_STEP_S = 1.0, 0.2
"""A file's pictures that the framing begins with: their seconds, and those between two."""
_CAMERA = re.compile(r"(?:cam|/dev/video)(\d{1,3})")
# Many files round their times to milliseconds; a difference this small is rounding, not time.
_EPSILON_S = 2e-3


class VideoSource(Protocol):
    """Pictures by frame number, 30 per second. One thread owns a source."""

    live: bool
    """Whether frames come as time passes, so that none may be asked for ahead of it."""

    @property
    def scene(self) -> int:
        """A number that rises where frames begin to show another scene: what was sent is no use for it."""
        ...

    def frame(self, n: int) -> Pictures | None:
        """Return the picture (S, S, 3), uint8 RGB, due at n / 30 s; None past the end.

        `n` never falls from one call to the next, and may jump ahead. Raises KeycastError where the source
        fails on the way.
        """
        ...

    def close(self) -> None:
        """Give the source back. Safe to call again."""
        ...


def open_source(
    spec: str,
    framing: Framing | None = None,
    loop: bool = False,
    denoise: bool = False,
    side: int = SIZE,
) -> VideoSource:
    """Open "cam0", "/dev/video0", "demo", "demo2" or a video file; the centre square is shown by default.

    Its pictures are `side` pixels large. `loop` starts a file again at its end, and lets the demo run for
    ever. `denoise` takes noise out of what stands still. Raises RequestError, in one sentence, where there is
    nothing to open.
    """
    if spec in DEMOS:
        return DemoSource(None if loop else SECONDS, spec, side)
    path, device = Path(spec), _camera(spec)
    if device:
        opened = partial(open_camera, side=side)
        camera = opened(int(device[1]))
        if camera is None:
            raise RequestError(f"There is no camera {spec}, or it cannot be opened; choose {CHOICES}.")
        again = SameCamera(int(device[1]), opened=opened)
        return CameraSource(camera, framing, reopen=again, denoise=denoise, side=side)
    return FileSource(path, framing, loop, denoise=denoise, side=side)


def is_camera(spec: str) -> bool:
    """Say whether `open_source` takes `spec` for a camera."""
    return _camera(spec) is not None


def _camera(spec: str) -> re.Match[str] | None:
    path = Path(spec)
    return _CAMERA.fullmatch(str(path.resolve()) if path.is_char_device() else spec)


class FileSource:
    """A video file at its own pace: frame n is the last that stands at most n / `fps` s after the first.

    An `fps` of None is the rate of the file. Pictures are `side` pixels large.
    """

    live = False

    def __init__(
        self,
        path: Path,
        framing: Framing | None = None,
        loop: bool = False,
        fps: Fraction | None = Fraction(FPS),
        *,
        denoise: bool = False,
        side: int = SIZE,
    ) -> None:
        self._path, self._loop = path, loop
        self._framing = Holding(framing or CentreSquare(), denoise, side)
        self._clip = VideoFile(path)
        self.fps = self._clip.rate if fps is None else fps
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
        self._picture = self._convert(self._ready)

    def frame(self, n: int) -> Pictures | None:
        """Return the picture due at n / `fps` s; None past the end. See `VideoSource.frame`."""
        due = float(n / self.fps) + _EPSILON_S
        while not self._ended and self._offset + self._next_time() <= due:
            self._advance()
        if self._ended or self._ready is None:
            return None
        if self._picture is None:
            self._picture = self._convert(self._ready)
        return self._picture

    @property
    def scene(self) -> int:
        """See `VideoSource`."""
        return self._framing.scene

    def close(self) -> None:
        """Close the file."""
        self._clip.close()
        self._ended = True

    def _next_time(self) -> float:
        return self._clip.end if self._next is None else self._next.seconds

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
        self._clip = VideoFile(self._path, quiet=True)
        self._ready, self._next = self._clip.read(), self._clip.read()
        if self._ready is None:
            raise KeycastError(f"{self._path} could not be read a second time; was it changed?")

    def _convert(self, frame: Frame) -> Pictures:
        return self._framing.apply(frame.picture(), self._offset + frame.seconds)


def _first_pictures(path: Path) -> Iterator[Pictures]:
    """Yield a few whole pictures from the first second of a file."""
    clip = VideoFile(path, quiet=True)
    due = 0.0
    try:
        while due < FIRST_S and (ready := clip.read()) is not None:
            if ready.seconds >= due:
                yield ready.picture()
                due += FIRST_STEP_S
    finally:
        clip.close()
