"""Received video as an mp4 that stays playable however the program ends."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
from av.video.stream import VideoStream

from shared.config import FPS, SIZE
from shared.errors import KeycastError, RequestError
from shared.keypoints import Pictures

# Fragments of a second each: what was written before a crash or a full disk plays.
_OPTIONS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
_ENCODER = {"crf": "18", "preset": "veryfast", "tune": "zerolatency", "threads": "1"}


class Mp4Sink:
    """Writes H.264 at 30 fps; a frame that was never shown leaves the one before it on screen."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._container: av.container.OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._first: int | None = None

    def open(self) -> None:
        """Create the file; RequestError where that is not possible."""
        try:
            self._container = av.open(str(self._path), "w", format="mp4", options=_OPTIONS)
            stream = self._container.add_stream("libx264", rate=FPS, options=_ENCODER)
            stream.width = stream.height = SIZE
            stream.pix_fmt = "yuv420p"
            stream.gop_size = FPS
            stream.time_base = Fraction(1, FPS)
            self._container.start_encoding()
        except (OSError, av.FFmpegError) as error:
            raise RequestError(f"Cannot write {self._path}: {_cause(error)}; choose another --output.") from error
        self._stream = stream

    def write(self, number: int, picture: Pictures) -> None:
        """Append one frame; KeycastError when the disk is full."""
        if self._stream is None or self._container is None:
            return
        if self._first is None:
            self._first = number
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = number - self._first
        try:
            self._container.mux(self._stream.encode(frame))
        except (OSError, av.FFmpegError) as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Flush and close; what was written stays playable even where this fails."""
        container, stream = self._container, self._stream
        self._container = self._stream = None
        if container is None or stream is None:
            return
        try:
            container.mux(stream.encode(None))
            container.close()
        except (OSError, av.FFmpegError) as error:
            raise self._failed(error) from error

    def _failed(self, error: BaseException) -> KeycastError:
        return KeycastError(f"Writing {self._path} failed: {_cause(error)}; what was written before it plays.")


def _cause(error: BaseException) -> str:
    return (getattr(error, "strerror", None) or str(error)).rstrip(".")
