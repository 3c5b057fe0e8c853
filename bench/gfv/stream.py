"""An H.264 stream of one picture and its keypoints' messages, and what is read back from such a one.

Messages stand before the picture that they go with, in the same access unit. The reference software puts all
frames of a base picture with it ("base"): the video is one picture long for players. With "each", every frame
has a picture of its own, in which all is skipped, so that it can be cut, streamed and shown at its time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from bench.gfv import units
from bench.gfv.bits import BitstreamError
from bench.gfv.message import PAYLOAD_TYPE, parse_all
from bench.gfv.motion import restored, to_messages
from shared.constants import FPS
from shared.errors import KeycastError, RequestError
from shared.keypoints import Floats, KeypointLayout, Pictures

LAYOUTS = ("base", "each")
MAX_FRAMES = 65536
"""As many messages as the reference software takes with one picture."""
# More reference pictures and weights for them would make skipped pictures longer.
_X264 = "threads=1:scenecut=0:keyint=infinite:ref=1:weightp=0"
_OPTIONS = {"preset": "veryslow", "tune": "zerolatency", "x264-params": _X264}


@dataclass(frozen=True)
class Written:
    """A stream, and how its bytes divide: its first picture, messages, and further pictures, all skipped."""

    data: bytes
    picture_bytes: int
    message_bytes: int
    skipped_bytes: int


@dataclass(frozen=True, eq=False)
class Read:
    """What a stream holds: its first picture (H, W, 3), uint8 RGB, and keypoints (T, D)."""

    picture: Pictures
    keypoints: Floats


def write_stream(  # noqa: PLR0917 - what is written, and how
    picture: Pictures, frames: Floats, layout: KeypointLayout, arrangement: str, bits: int, crf: int
) -> Written:
    """Return `picture` (H, W, 3), even sizes, and keypoints `frames` (T, D) as a stream.

    `arrangement` is one of `LAYOUTS`, `crf` x264's quality of the picture. Raises KeycastError where coding
    fails.
    """
    alone = arrangement == "each"
    messages = to_messages(frames, layout, bits, alone)
    groups = [[message] for message in messages] if alone else [messages]
    try:
        pictures = _pictures(picture, len(groups), crf)
    except FFmpegError as error:
        raise KeycastError(f"Coding the picture as H.264 failed: {error.strerror}.") from error
    parts: list[bytes] = []
    message_bytes = 0
    for coded, group in zip(pictures, groups, strict=True):
        unit = units.message_unit(PAYLOAD_TYPE, [message.pack() for message in group])
        message_bytes += len(units.START) + len(unit)
        first = next(n for n, one in enumerate(coded) if units.kind(one) in {units.IDR, units.SLICE})
        parts.append(units.joined([*coded[:first], unit, *coded[first:]]))
    first_bytes = len(units.joined(pictures[0]))
    data = b"".join(parts)
    return Written(data, first_bytes, message_bytes, len(data) - first_bytes - message_bytes)


def _pictures(picture: Pictures, count: int, crf: int) -> list[list[bytes]]:
    """Return the units of `count` coded pictures, all of which look as the first, without x264's own note."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.height, encoder.width = picture.shape[:2]
    encoder.pix_fmt = "yuv420p"
    encoder.framerate = Fraction(FPS)
    encoder.time_base = Fraction(1, FPS)
    encoder.thread_count = 1
    encoder.options = {**_OPTIONS, "crf": str(crf)}
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, VideoCodecContext)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
    coded: list[bytes] = []
    for number in range(count):
        frame.pts, frame.time_base = number, encoder.time_base
        coded += [bytes(packet) for packet in encoder.encode(frame)]
        if number == 0:
            # What was lost in coding it is not made good in the next: nothing is left to code.
            shown = [*decoder.decode(av.Packet(coded[0])), *decoder.decode(None)][0]
            frame = shown.reformat(format="yuv420p")
            frame.pict_type = PictureType.NONE  # a decoded I would be coded as one
    coded += [bytes(packet) for packet in encoder.encode(None)]
    return [[unit for unit in units.split(one) if units.kind(unit) != units.SEI] for one in coded]


def read_stream(path: Path) -> Read:
    """Return what the video at `path` holds: a byte stream, or a file that FFmpeg finds H.264 in.

    Raises RequestError where it is none, or its messages are not sound or not there.
    """
    try:
        picture, payloads = _pictures_and_payloads(path)
        keypoints = restored(parse_all(payloads)) if payloads else None
    except BitstreamError as error:
        raise RequestError(
            f"Keypoints cannot be read from the generative face video messages in {path}: {error}."
        ) from error
    except (FFmpegError, OSError) as error:
        raise RequestError(f"{path} cannot be read as a video: {error.strerror or error}.") from error
    if keypoints is None:
        raise RequestError(f"{path} holds no generative face video messages; give another file to --read.")
    if picture is None:
        raise RequestError(f"{path} holds no picture that can be shown; give another file to --read.")
    return Read(picture, keypoints)


def _pictures_and_payloads(path: Path) -> tuple[Pictures | None, list[bytes]]:
    picture: Pictures | None = None
    payloads: list[bytes] = []
    for shown, data in _access_units(path):
        picture = shown if picture is None else picture
        for unit in units.split(data):
            if units.kind(unit) == units.SEI:
                payloads += units.messages(unit, PAYLOAD_TYPE)
        if len(payloads) > MAX_FRAMES:
            raise BitstreamError(f"there are over {MAX_FRAMES} of them")
    return picture, payloads


def _access_units(path: Path) -> Iterator[tuple[Pictures | None, bytes]]:
    """Give the bytes of each coded picture, as a byte stream, and the first picture once it is decoded."""
    with av.open(str(path.absolute()), options={"protocol_whitelist": "file"}) as container:
        video = next(iter(container.streams.video), None)
        if video is None or video.codec_context.name != "h264":
            raise RequestError(f"{path} holds no H.264 video; give another file to --read.")
        video.thread_count = 1
        to_units = BitStreamFilterContext("h264_mp4toannexb", video)
        picture: Pictures | None = None
        for packet in container.demux(video):
            if picture is None:
                picture = next((_shown(frame) for frame in packet.decode()), None)
            # Filtering empties the packet.
            filtered = to_units.filter(packet) if packet.size else []
            yield picture, b"".join(bytes(one) for one in filtered)


def _shown(frame: av.VideoFrame) -> Pictures:
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
