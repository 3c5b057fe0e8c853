"""Received video as an mp4 that stays playable however the program ends."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.video.stream import VideoStream

from receiver.sinks.fragments import cut_to_whole_fragments
from shared.config import FPS, SIZE
from shared.errors import KeycastError
from shared.files import check_writable
from shared.keypoints import Pictures

# Fragments of a second each, handed to the system as soon as they are whole: what was written before a crash
# or a full disk plays.
_OPTIONS = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
_ENCODER = {"crf": "18", "preset": "veryfast", "tune": "zerolatency", "threads": "1"}


class Mp4Sink:
    """Writes H.264 at 30 fps; a frame that was never shown leaves the one before it on screen.

    The file is made with the first frame: a call that never began leaves an older file alone.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._output: tuple[OutputContainer, VideoStream] | None = None
        self._first = 0
        self._failure: KeycastError | None = None

    def open(self) -> None:
        """Raise RequestError unless the file can be written."""
        check_writable(self._path)

    def write(self, number: int, picture: Pictures) -> None:
        """Append one frame; KeycastError when the disk is full, and from then on."""
        if self._failure is not None:
            raise self._failure
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        try:
            if self._output is None:
                self._first = number
                self._output = self._create()
            container, stream = self._output
            frame.pts = number - self._first
            container.mux(stream.encode(frame))
        except (OSError, av.FFmpegError) as error:
            raise self._fail(error) from error

    def close(self) -> None:
        """Flush and close; what was written stays playable even where this fails."""
        output, self._output = self._output, None
        if output is None:
            return
        container, stream = output
        try:
            container.mux(stream.encode(None))
            container.close()
        except (OSError, av.FFmpegError) as error:
            raise self._fail(error) from error

    def _create(self) -> tuple[OutputContainer, VideoStream]:
        container = av.open(str(self._path), "w", format="mp4", options=_OPTIONS)
        stream = container.add_stream("libx264", rate=FPS, options=_ENCODER)
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.gop_size = FPS
        stream.time_base = Fraction(1, FPS)
        container.start_encoding()
        return container, stream

    def _fail(self, error: OSError | av.FFmpegError) -> KeycastError:
        """Close the file and keep what plays of it; return the failure to raise."""
        output, self._output = self._output, None
        # It fails as well: it would flush what there is no room for.
        with contextlib.suppress(OSError, av.FFmpegError):
            if output is not None:
                output[0].close()
        with contextlib.suppress(OSError):  # a device, such as /dev/full, cannot be cut
            cut_to_whole_fragments(self._path)
        # Some of the encoder's errors have a text alone.
        cause = (error.strerror or str(error)).rstrip(".")
        self._failure = KeycastError(
            f"Writing {self._path} failed: {cause}; what was written before it plays."
        )
        return self._failure
