"""Inputs of `animate`: the driving video and the picture that is to move."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from models.build import load_head_finder
from receiver.avatar import framed, no_face
from sender.automatic import AutomaticFraming
from sender.capture import FileSource, VideoSource, is_camera, open_source
from sender.crop import Crop
from sender.demo import DEMOS, DemoSource
from sender.sound import FileSound
from shared.constants import FPS
from shared.errors import RequestError
from shared.keypoints import Pictures
from shared.media.stills import NotAPictureError, read_still
from shared.media.video.sounds import NoSoundError

_HEADLESS = (
    "no head was found at the start of the driving video, so its middle is used until one appears; "
    "use --crop X,Y,SIZE to choose a square."
)


@dataclass(frozen=True)
class Driving:
    """A driving video that is open, at `fps` frames per second."""

    source: VideoSource
    fps: Fraction
    path: Path | None
    """None for one that is no file."""

    def sound(self) -> FileSound | None:
        """Open its sound, in stereo; None where it has none."""
        if self.path is not None:
            with suppress(NoSoundError):
                return FileSound(self.path, channels=2)
        return None


def open_driving(spec: str, crop: str | None, fps: Fraction | None, side: int) -> Driving:
    """Open a video file or the demo at `fps`, None: its own rate. RequestError where that is not possible.

    `crop` is as on the command line; without it, the square is around the head, as a sender's is. Frames are
    `side` pixels large.
    """
    if is_camera(spec):
        raise RequestError(f"{spec} is a camera and never ends; give a video file, or demo.")
    if spec in DEMOS:
        return Driving(DemoSource(name=spec, side=side), Fraction(FPS), None)
    framing = Crop.parse(crop) if crop else AutomaticFraming(load_head_finder(), lambda _: note(_HEADLESS))
    source = FileSource(Path(spec), framing, fps=fps, side=side)
    return Driving(source, source.fps, Path(spec))


def driving_frames(source: VideoSource) -> Iterator[Pictures]:
    """Give every frame of `source`, at its rate, to its end."""
    number = 0
    while (frame := source.frame(number)) is not None:
        yield frame
        number += 1


def source_picture(spec: str, side: int) -> Pictures:
    """Return the square around the head (side, side, 3) in a picture file, or in a video's first frame.

    A note says where that is the middle, for want of a head. Raises RequestError where `spec` is neither.
    """
    path = Path(spec)
    if spec not in DEMOS and not path.is_file():
        raise RequestError(f"There is no picture {spec}; give a picture, or a video for its first frame.")
    find = load_head_finder()
    if spec not in DEMOS:
        with suppress(NotAPictureError):
            return framed(read_still(path, "--source"), (side,), find, lambda: note(no_face(spec)))
    try:
        video = open_source(spec, AutomaticFraming(find, lambda _: note(no_face(spec))), side=side)
    except RequestError as error:
        raise RequestError(f"{spec} is neither a picture nor a video; give another file.") from error
    try:
        first = video.frame(0)
    finally:
        video.close()
    if first is None:
        raise RequestError(f"{spec} has no frame to start from; give another.")
    return first


def note(sentence: str) -> None:
    """Tell the user something that is no error."""
    print(f"note: {sentence}", file=sys.stderr)
