"""Clips as 256x256 pictures, for training: video files, gifs, and folders of frames."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from PIL import Image, ImageSequence

from models.clips.layouts import frame_files
from shared.constants import SIZE
from shared.keypoints import Pictures
from shared.media.picture import to_rgb

# What a clip that is not sound raises on its way through this module.
CLIP_ERRORS = (av.FFmpegError, OSError, ValueError)
# Frames in a folder carry no time; those of VoxCeleb were taken at this rate.
FOLDER_FPS = 25.0
# A frame of a gif that names no duration, or none that any viewer keeps to, is shown for this long.
_GIF_SECONDS = 0.1
_GIF_SHORTEST = 0.011
# A file may count a few frames that its edit list hides; one that was cut off misses more.
_COMPLETE = 0.95
# What Pillow raises on broken files besides OSError and ValueError.
_PICTURE_ERRORS = (
    AssertionError,
    SyntaxError,
    TypeError,
    EOFError,
    IndexError,
    struct.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)

# A frame's time in seconds, and how to get its picture (256, 256, 3), uint8 RGB.
Frame = tuple[float, Callable[[], Pictures]]


@contextmanager
def open_clip(clip: Path) -> Iterator[tuple[float, Iterator[Frame]]]:
    """Open a video, a gif or a folder of frames: give its rate in frames per second, and its frames in order.

    Every frame is decoded, whether its picture is asked for or not: where one is broken, or the file ends
    before it should, one of CLIP_ERRORS is raised.
    """
    if clip.is_dir():
        yield FOLDER_FPS, _folder_frames(clip)
    elif clip.suffix.lower() == ".gif":
        with _picture(clip, "GIF") as image:
            rate = 1 / _gif_seconds(image)
        yield rate, _gif_frames(clip)
    else:
        with open_video(clip) as container:
            stream = video_stream(container)
            yield float(stream.average_rate or FOLDER_FPS), _video_frames(container, stream)


def timed_pictures(clip: Path) -> Iterator[tuple[float, Pictures]]:
    """Yield every frame of `clip`, (256, 256, 3) uint8 RGB, with its time in seconds; see `open_clip`."""
    with open_clip(clip) as (_, frames):
        for time, picture in frames:
            yield time, picture()


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


def _square_image(image: Image.Image) -> Pictures:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=box), np.uint8)


def _video_frames(container: InputContainer, stream: VideoStream) -> Iterator[Frame]:
    """Yield the frames; one without a time follows the one before."""
    step = 1 / float(stream.average_rate or FOLDER_FPS)
    time, count = -step, 0
    for frame in container.decode(stream):
        time = time + step if frame.time is None else frame.time
        count += 1
        yield time, partial(square, frame)
    if count < _COMPLETE * stream.frames - 1:
        raise ValueError(f"it ends after {count} of {stream.frames} frames")


def _folder_frames(folder: Path) -> Iterator[Frame]:
    for index, file in enumerate(frame_files(folder)):
        with _picture(file, "PNG", "JPEG") as image:
            yield index / FOLDER_FPS, partial(_square_image, to_rgb(image))


def _gif_frames(file: Path) -> Iterator[Frame]:
    """Yield the frames as a viewer shows them: each drawn over what those before it left."""
    time = 0.0
    with _picture(file, "GIF") as image:
        for frame in ImageSequence.Iterator(image):
            yield time, partial(_square_image, to_rgb(frame))
            time += _gif_seconds(frame)


def _gif_seconds(frame: Image.Image) -> float:
    seconds = float(frame.info.get("duration", 0)) / 1000
    return seconds if seconds >= _GIF_SHORTEST else _GIF_SECONDS


@contextmanager
def _picture(file: Path, *formats: str) -> Iterator[Image.Image]:
    """Open a picture; what Pillow makes of a broken or oversized one becomes a ValueError with its name."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(file, formats=formats)
        with image:
            yield image
    except _PICTURE_ERRORS as error:
        raise ValueError(f"{file.name} is no picture that can be used ({error})") from error
