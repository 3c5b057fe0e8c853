"""Received video as an mp4 that stays playable however the program ends."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.video.stream import VideoStream

from receiver.sinks.fragments import cut_to_whole_fragments
from receiver.sinks.soundtrack import Soundtrack
from shared.constants import FPS
from shared.errors import KeycastError
from shared.keypoints import Pictures
from shared.media.opus import Sound
from shared.media.squares import scaled
from shared.media.voice_packet import SAMPLES_PER_FRAME
from shared.runtime.output_files import check_writable

# Fragments of a second each, handed to the system as soon as they are whole: what was written before a crash
# or a full disk plays.
_OPTIONS = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
_ENCODER = {"crf": "18", "preset": "veryfast", "tune": "zerolatency", "threads": "1"}


class Mp4Sink:
    """Writes H.264 at 30 fps; a frame that was never shown leaves the one before it on screen.

    The file is made with the first frame: a call that never began leaves an older file alone. It has the
    first frame's size, to which those of later calls are scaled, and sound where the first call in it has;
    later ones are silent otherwise.
    """

    lead = 0.0

    def __init__(self, path: Path) -> None:
        self._path = path
        self._output: tuple[OutputContainer, VideoStream] | None = None
        self._first = self._last = 0
        self._with_sound = False
        self._sound: Soundtrack | None = None
        self._failure: KeycastError | None = None

    def open(self) -> None:
        """Raise RequestError unless the file can be written."""
        check_writable(self._path)

    def write(self, number: int, picture: Pictures) -> None:
        """Append one frame; KeycastError when the disk is full, and from then on."""
        if self._failure is not None:
            raise self._failure
        if self._output is not None:
            picture = scaled(picture, self._output[1].width)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        try:
            if self._output is None:
                self._first = number
                self._output = self._create(frame)
            container, stream = self._output
            frame.pts = number - self._first
            self._last = number
            container.mux(stream.encode(frame))
            if self._sound is not None:
                self._sound.write(self._sample(number))
        except (OSError, av.FFmpegError) as error:
            raise self._fail(error) from error

    def expect_sound(self) -> None:
        """Make the file with sound, where it is not made yet."""
        self._with_sound = True

    def hear(self, first: int, sound: Sound, heard_at: float) -> None:  # noqa: ARG002 - a file has its own time
        """Take sound; what stands before the first frame is left out."""
        track = self._sound
        if track is not None:
            track.hear(self._sample(0) + first, sound)

    def _sample(self, number: int) -> int:
        """Return the sample of frame `number`, counted from the file's first frame."""
        return (number - self._first) * SAMPLES_PER_FRAME

    def close(self) -> None:
        """Flush and close; what was written stays playable even where this fails."""
        output, self._output = self._output, None
        if output is None:
            return
        container, stream = output
        try:
            container.mux(stream.encode(None))
            if self._sound is not None:
                self._sound.finish(self._sample(self._last + 1))
            container.close()
        except (OSError, av.FFmpegError) as error:
            raise self._fail(error) from error

    def _create(self, first: av.VideoFrame) -> tuple[OutputContainer, VideoStream]:
        container = av.open(str(self._path.absolute()), "w", format="mp4", options=_OPTIONS)
        stream = container.add_stream("libx264", rate=FPS, options=_ENCODER)
        stream.width, stream.height = first.width, first.height
        stream.pix_fmt = "yuv420p"
        stream.gop_size = FPS
        stream.time_base = Fraction(1, FPS)
        self._sound = Soundtrack(container) if self._with_sound else None
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
