"""Video files as 256x256 pictures, for training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from shared.config import SIZE
from shared.errors import RequestError
from shared.keypoints import Pictures

VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".webm")
# What a file that is not a sound video raises on its way through this module.
CLIP_ERRORS = (av.FFmpegError, OSError, ValueError)


def find_clips(folders: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Return (folder, file) for every video below `folders`, in a stable order; RequestError without any."""
    for folder in folders:
        if not folder.is_dir():
            raise RequestError(f"There is no folder {folder}; give folders that hold video clips.")
    found = [(folder, file) for folder in folders for file in sorted(folder.rglob("*")) if _is_video(file)]
    if not found:
        names = ", ".join(map(str, folders))
        raise RequestError(f"No video below {names}; give folders with {' '.join(VIDEO_SUFFIXES)} files.")
    return found


def _is_video(file: Path) -> bool:
    return file.suffix.lower() in VIDEO_SUFFIXES and file.is_file()


def open_video(file: Path) -> InputContainer:
    """Open `file` for decoding; the errors are CLIP_ERRORS."""
    # A playlist could otherwise make us fetch addresses.
    return av.open(str(file.absolute()), options={"protocol_whitelist": "file"})


def video_stream(container: InputContainer) -> VideoStream:
    """Return the first video stream, set to decode with several threads; ValueError where there is none."""
    if not container.streams.video:
        raise ValueError("it holds no video")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    return stream


def square(frame: av.VideoFrame) -> Pictures:
    """Return the centre square of `frame`, upright, as (256, 256, 3) uint8 RGB."""
    turns = frame.rotation // 90 if frame.rotation % 90 == 0 else 0
    if frame.width != frame.height:
        side = min(frame.width, frame.height)
        top, left = (frame.height - side) // 2, (frame.width - side) // 2
        pixels = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
        part = np.ascontiguousarray(pixels[top : top + side, left : left + side])
        frame = av.VideoFrame.from_ndarray(part, "rgb24")
    picture = frame.reformat(width=SIZE, height=SIZE, format="rgb24").to_ndarray()
    return np.ascontiguousarray(np.rot90(picture, turns), np.uint8)


def timed_pictures(file: Path) -> Iterator[tuple[float, Pictures]]:
    """Yield every frame of `file` with its time in seconds; a frame without one follows the one before."""
    with open_video(file) as container:
        stream = video_stream(container)
        step = 1 / float(stream.average_rate or 25)
        time = -step
        for frame in container.decode(stream):
            time = time + step if frame.time is None else frame.time
            yield time, square(frame)
