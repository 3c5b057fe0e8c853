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
from PIL import Image

from models.clips.layouts import frame_files
from shared.constants import SIZE
from shared.errors import RequestError
from shared.keypoints import Pictures
from shared.media.picture import to_rgb
from shared.media.squares import scaled
from shared.media.video.files import Frame as VideoFrame
from shared.media.video.files import VideoFile

# What a clip that is not sound raises on its way through this module.
CLIP_ERRORS = (av.FFmpegError, OSError, ValueError)
# Frames in a folder carry no time; those of VoxCeleb were taken at this rate.
FOLDER_FPS = 25.0
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
        return
    clip.stat()  # where it is gone, the system's own words
    try:
        video = VideoFile(clip, quiet=True)
    except RequestError as error:
        raise ValueError(str(error)) from error
    try:
        yield float(video.rate), _video_frames(video)
    finally:
        video.close()


def timed_pictures(clip: Path, size: int = SIZE) -> Iterator[tuple[float, Pictures]]:
    """Yield every frame of `clip`, (size, size, 3) uint8 RGB, with its time in seconds; see `open_clip`."""
    with open_clip(clip) as (_, frames):
        for time, picture in frames:
            yield time, scaled(picture(), size)


def _square(frame: VideoFrame) -> Pictures:
    """Return the centre square of `frame` as (256, 256, 3) uint8 RGB."""
    return _square_image(Image.fromarray(frame.picture()))


def _square_image(image: Image.Image) -> Pictures:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    # Cut first, or what lies beside the square would blend into its edge.
    return np.asarray(image.crop(box).resize((SIZE, SIZE), Image.Resampling.BICUBIC), np.uint8)


def _video_frames(video: VideoFile) -> Iterator[Frame]:
    count = 0
    while (frame := video.read()) is not None:
        count += 1
        yield frame.seconds, partial(_square, frame)
    if video.damaged:
        raise ValueError(f"{video.damaged} pieces of it are damaged")
    if count < _COMPLETE * video.stated - 1:
        raise ValueError(f"it ends after {count} of {video.stated} frames")


def _folder_frames(folder: Path) -> Iterator[Frame]:
    for index, file in enumerate(frame_files(folder)):
        with _picture(file, "PNG", "JPEG") as image:
            yield index / FOLDER_FPS, partial(_square_image, to_rgb(image))


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
        raise ValueError(f"{file.name} is not a usable picture ({error})") from error
