"""One pass over a video file, whatever is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.filter import Graph
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from shared.constants import FPS
from shared.errors import RequestError
from shared.keypoints import Pictures
from shared.media.video.pictures import MAX_SIDE, Converter
from shared.media.video.timeline import Timeline, has_jumped
from shared.runtime.logs import logger

CHOICES = "cam0, cam1, a device such as /dev/video0, a video file, or demo"
_HIGHEST_RATE = 300
_UNEVEN = 1.5
# Errors in a row without a packet between them: what comes after is not worth asking for.
_MAX_FAILURES = 50
_CLOCK_JUMPS = 0x0200
# Their times say when a frame is decoded; what FFmpeg makes of that for frames in another order is no use.
_ORDER_OF_DECODING = {"avi"}
_AGAIN = (av.error.BlockingIOError, av.error.EOFError)

AnyStream = TypeVar("AnyStream", VideoStream, AudioStream)

_log = logger("video")


def open_container(path: Path) -> InputContainer:
    """Open a media file. Raises RequestError where there is none, or it is none."""
    if path.is_dir():
        raise RequestError(f"{path} is a folder; give a video file, or {CHOICES}.")
    if not path.is_file():
        raise RequestError(f"There is no {path}; give {CHOICES}.")
    try:
        # A playlist could otherwise make us fetch addresses; what comes before a colon in a name, be one.
        return av.open(str(path.absolute()), options={"protocol_whitelist": "file"})
    except FFmpegError as error:
        raise RequestError(
            f"{path} is not a readable video ({error.strerror}); give an intact file such as an mp4."
        ) from error


def clock_jumps(container: InputContainer) -> bool:
    """Say whether times may jump within a file of this format; see `Timeline`."""
    return bool(container.format.flags & _CLOCK_JUMPS)


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame that stands `seconds` after the file's first."""

    seconds: float
    video: av.VideoFrame
    aspect: Fraction | None
    converter: Converter

    def picture(self) -> Pictures:
        """Return it whole and upright, pixels square: (H, W, 3), uint8 RGB."""
        return self.converter.picture(self.video, self.aspect)


class VideoFile:
    """One pass over the frames of the file at `path`, in their order.

    What cannot be decoded is left out and counted; `quiet` says nothing of it. Interlaced frames are made
    whole. Raises RequestError where there is no video to read.
    """

    def __init__(self, path: Path, quiet: bool = False) -> None:
        self._path, self._quiet = path, quiet
        self._container = open_container(path)
        stream = self._container.streams.best("video")
        # Music may bring a picture of its cover.
        if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
            what = "only sound" if self._container.streams.audio else "or is damaged"
            self._container.close()
            raise RequestError(f"{path} holds no video, {what}; give an intact file with a video stream.")
        self._stream = stream
        if max(self._stream.width, self._stream.height) > MAX_SIDE:
            size = f"{self._stream.width}x{self._stream.height}"
            self._container.close()
            raise RequestError(f"The video in {path} is {size}, over {MAX_SIDE} pixels; scale it down first.")
        self._stream.thread_type = "AUTO"
        self.rate = _rate(self._stream)
        """Frames per second, as far as the file tells."""
        self.stated = self._stream.frames
        """How many frames the file says it has; 0 where it does not."""
        self._timeline = Timeline(float(1 / self.rate), clock_jumps(self._container))
        self._by_decoding = self._container.format.name in _ORDER_OF_DECODING
        self._converter = Converter()
        self._frames = self._read()
        self.damaged = 0
        """How many pieces could not be decoded so far."""
        self.starts = 0.0
        """The time that the first frame states, in seconds; known once it was read."""
        self._begun = False

    @property
    def end(self) -> float:
        """Where the last frame that was read ends, in seconds after the first."""
        return self._timeline.end

    def read(self) -> Frame | None:
        """Return the next frame; None at the end."""
        return next(self._frames, None)

    def clocks(self) -> Iterator[float]:
        """Yield for each part of the file which time on its clock is the first frame's; nothing is decoded.

        Files have one part, but where recordings were joined. Only for a file that nothing was read of.
        """
        zero = last = end = 0.0
        begun = False
        for packet in packets(self._container, self._stream, lambda: None):
            if packet.dts is None or packet.time_base is None:
                continue
            decoded = float(packet.dts * packet.time_base)
            shown = (
                decoded if packet.pts is None or self._by_decoding else float(packet.pts * packet.time_base)
            )
            lasts = float((packet.duration or 0) * packet.time_base) or float(1 / self.rate)
            if not begun or has_jumped(decoded, last, last + lasts, clock_jumps(self._container)):
                zero, begun = shown - end, True
                yield zero
            last, end = decoded, max(end, shown - zero + lasts)

    def length(self) -> float:
        """Return where the last frame ends, as `end` will say, from what is left of the file, undecoded."""
        end = self.end
        for packet in packets(self._container, self._stream, lambda: None):
            stated = packet.dts if self._by_decoding else packet.pts
            if stated is not None and packet.time_base is not None:
                lasts = float((packet.duration or 0) * packet.time_base) or float(1 / self.rate)
                end = max(end, float(stated * packet.time_base) - self.starts + lasts)
        return end

    def close(self) -> None:
        """Close the file. Safe to call again."""
        self._frames.close()
        self._container.close()

    def _read(self) -> Generator[Frame]:
        try:
            for video in _whole(self._decoded()):
                time = self._time(video)
                if not self._begun:
                    self._begun, self.starts = True, time or 0.0
                length = float(video.duration * video.time_base) if video.duration and video.time_base else 0
                seconds = self._timeline.place(time, length)
                yield Frame(seconds, video, self._stream.sample_aspect_ratio, self._converter)
            self._check_length()
        finally:
            if self.damaged and not self._quiet:
                pieces = "a damaged piece" if self.damaged == 1 else f"{self.damaged} damaged pieces"
                _log.warning("%s: %s skipped; the picture froze meanwhile.", self._path, pieces)

    def _time(self, video: av.VideoFrame) -> float | None:
        if not self._by_decoding:
            return video.time
        return float(video.dts * video.time_base) if video.dts is not None and video.time_base else None

    def _check_length(self) -> None:
        duration, base = self._stream.duration, self._stream.time_base
        if self._quiet or self.damaged or not duration or not base:
            return
        if self._begun and float(duration * base) - self.end > 1:
            _log.warning("%s is cut short: it ends after %.1f s.", self._path, self.end)

    def _decoded(self) -> Iterator[av.VideoFrame]:
        for packet in packets(self._container, self._stream, self._damage):
            try:
                frames = packet.decode()
            except FFmpegError:
                self._damage()
                continue
            for frame in frames:
                assert isinstance(frame, av.VideoFrame)
                if frame.is_corrupt or max(frame.width, frame.height) > MAX_SIDE:
                    self._damage()
                else:
                    yield frame

    def _damage(self) -> None:
        self.damaged += 1


def packets(
    container: InputContainer, stream: AnyStream, damage: Callable[[], None]
) -> Iterator[Packet[AnyStream]]:
    """Yield the packets of `stream`, at last one that has the decoder give what it still holds.

    Where the file itself is damaged, `damage` is called, and what follows is read all the same.
    """
    failures = 0
    while failures < _MAX_FAILURES:
        try:
            for packet in container.demux(stream):
                failures = 0
                yield packet
        except FFmpegError:
            failures += 1
            if failures == 1:
                damage()
        else:
            return


def _rate(stream: VideoStream) -> Fraction:
    guessed, average = stream.guessed_rate, stream.average_rate
    # Of an uneven pace the guess is the finest step.
    if guessed and average and guessed > _UNEVEN * average:
        guessed = average
    for rate in (guessed, average):
        if rate and 0 < rate <= _HIGHEST_RATE:
            return Fraction(rate)
    return Fraction(FPS)


def _whole(frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """Yield `frames`, those that are interlaced made whole of their lines and their neighbours'."""
    graph: Graph | None = None
    form: object = None
    for frame in frames:
        if graph is not None and form != _form(frame):
            yield from _drained(graph)
            graph = None
        if graph is None and frame.interlaced_frame:
            graph, form = _deinterlacer(frame), _form(frame)
        if graph is None:
            yield frame
        else:
            graph.vpush(frame)
            yield from _pulled(graph)
    if graph is not None:
        yield from _drained(graph)


def _form(frame: av.VideoFrame) -> object:
    return frame.width, frame.height, frame.format.name


def _deinterlacer(frame: av.VideoFrame) -> Graph:
    """Return Weston's filter with motion estimation, one frame out for one in; others pass as they are."""
    graph = Graph()
    graph.threads = 1
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    graph.link_nodes(
        source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink")
    ).configure()
    return graph


def _pulled(graph: Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except _AGAIN:
            return


def _drained(graph: Graph) -> Iterator[av.VideoFrame]:
    graph.vpush(None)
    yield from _pulled(graph)
