"""Videos as `animate` leaves them: mp4 and webm with sound, gif; all or nothing, frame after frame."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import cast

import av
from av.container import OutputContainer
from av.error import FFmpegError
from av.filter import Graph
from av.video.stream import VideoStream

from bench.harness.media import write_npy
from bench.harness.report import replacing
from receiver.sinks.soundtrack import Soundtrack
from sender.sound import FileSound
from shared.errors import KeycastError
from shared.keypoints import Pictures
from shared.media.opus import RATE

_HIGHEST_GIF_RATE = 50
"""Browsers show what is meant to last less than 20 ms for 100."""
_GIF_BASE = Fraction(1, 100)


@dataclass(frozen=True)
class _Kind:
    """What is in a file of a kind; without a sound coder it is silent."""

    form: str
    video: str
    options: dict[str, str]
    sound: str | None = None
    movflags: str | None = None


_MP4 = _Kind("mp4", "libx264", {"crf": "18", "preset": "veryfast"}, "aac", "faststart")
_WEBM = _Kind(
    "webm", "libvpx-vp9", {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "6"}, "libopus"
)


def write_video(path: Path, frames: Iterable[Pictures], fps: Fraction, sound: FileSound | None) -> int:
    """Write `frames` (H, W, 3), uint8 RGB, even sizes, in the format of `path`'s ending; return their number.

    Silent without `sound`, of two channels; it is as long as the pictures. The file appears when it is
    complete. Raises RequestError for a place that cannot be written, KeycastError where writing fails or
    there is no frame.
    """
    try:
        with replacing(path) as temporary:
            count = _WRITERS[path.suffix.lower()](temporary.absolute(), iter(frames), fps, sound)
            if not count:
                raise KeycastError(f"There was no frame to write to {path}.")
            return count
    # Before OSError has become KeycastError: some of FFmpeg's errors are no OSError.
    except FFmpegError as error:
        raise KeycastError(f"Writing {path} failed: {error.strerror}; is the disk full?") from error


def _write_coded(
    kind: _Kind, path: Path, frames: Iterator[Pictures], fps: Fraction, sound: FileSound | None
) -> int:
    first = next(frames, None)
    if first is None:
        return 0
    count = 0
    options = {} if kind.movflags is None else {"movflags": kind.movflags}
    with av.open(str(path), "w", format=kind.form, options=options) as container:
        stream = cast(VideoStream, container.add_stream(kind.video, rate=fps, options=kind.options))
        _sized(stream, first, "yuv420p")
        stream.codec_context.time_base = 1 / fps
        track = None
        if sound is not None and kind.sound is not None:
            track = Soundtrack(container, kind.sound, channels=2)
        for count, picture in enumerate(_with(first, frames), start=1):
            container.mux(stream.encode(_frame(picture, count - 1, 1 / fps)))
            if track is not None and sound is not None:
                begin, end = (math.floor(number * RATE / fps) for number in (count - 1, count))
                track.hear(begin, sound.read(begin, end - begin))
                track.write(end)
        container.mux(stream.encode(None))
        if track is not None:
            track.finish(math.floor(count * RATE / fps))
    return count


def _write_gif(path: Path, frames: Iterator[Pictures], fps: Fraction, sound: FileSound | None) -> int:  # noqa: ARG001
    """Write a gif whose frames have a palette each; of more than 50 frames per second some are left out."""
    every = math.ceil(fps / _HIGHEST_GIF_RATE)
    first = next(frames, None)
    if first is None:
        return 0
    count = 0
    with av.open(str(path), "w", format="gif") as container:
        stream = container.add_stream("gif", rate=fps / every)
        _sized(stream, first, "pal8")
        stream.codec_context.time_base = _GIF_BASE
        palette = _palette(stream)
        for count, picture in enumerate(islice(_with(first, frames), 0, None, every), start=1):
            palette.vpush(_frame(picture, round((count - 1) * every / fps / _GIF_BASE), _GIF_BASE))
            _mux_gif(container, stream, palette)
        palette.vpush(None)
        _mux_gif(container, stream, palette)
        container.mux(stream.encode(None))
    return count


def _mux_gif(container: OutputContainer, stream: VideoStream, palette: Graph) -> None:
    while True:
        try:
            frame = palette.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        container.mux(stream.encode(frame))


def _palette(stream: VideoStream) -> Graph:
    """Return what finds each frame's 256 colours and draws it with them."""
    graph = Graph()
    graph.threads = 1
    source = graph.add_buffer(
        width=stream.width, height=stream.height, format=av.VideoFormat("rgb24"), time_base=_GIF_BASE
    )
    split, find = graph.add("split"), graph.add("palettegen", "stats_mode=single")
    draw, sink = graph.add("paletteuse", "new=1:dither=bayer:bayer_scale=4"), graph.add("buffersink")
    source.link_to(split)
    split.link_to(draw, 0, 0)
    split.link_to(find, 1, 0)
    find.link_to(draw, 0, 1)
    draw.link_to(sink)
    graph.configure()
    return graph


def _sized(stream: VideoStream, picture: Pictures, pix_fmt: str) -> None:
    stream.height, stream.width = picture.shape[:2]
    stream.pix_fmt = pix_fmt


def _frame(picture: Pictures, pts: int, base: Fraction) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
    frame.pts, frame.time_base = pts, base
    return frame


def _with(first: Pictures, rest: Iterator[Pictures]) -> Iterator[Pictures]:
    yield first
    yield from rest


Writer = Callable[[Path, Iterator[Pictures], Fraction, FileSound | None], int]


def _coded(kind: _Kind) -> Writer:
    return lambda path, frames, fps, sound: _write_coded(kind, path, frames, fps, sound)


_WRITERS: dict[str, Writer] = {".mp4": _coded(_MP4), ".webm": _coded(_WEBM), ".gif": _write_gif}
ENDINGS = (*_WRITERS, ".npy")


def write(path: Path, frames: Iterable[Pictures], fps: Fraction, sound: FileSound | None = None) -> int:
    """Write `frames` as `path`'s ending says, one of ENDINGS; see `write_video` and `write_npy`."""
    if path.suffix.lower() == ".npy":
        return write_npy(path, frames)
    return write_video(path, frames, fps, sound)
