"""Ordinary video codecs as a call would run them: coded, decoded, and counted in packets; all in memory.

Each runs with settings that give it a good chance: no frame waits for a later one, one key frame at the
start, the slowest preset that one core still does in real time at 256x256, and an average bit rate without a
cap on any moment, which a real call could not allow itself. Bytes that would not travel in RTP (the encoder's
note about itself, AV1's temporal delimiters) are taken off.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.codec.codec import UnknownCodecError
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext

from shared.errors import KeycastError
from shared.keypoints import Pictures

PACKET_OVERHEAD = 50
"""IPv4 20, UDP 8, RTP 12, SRTP's authentication tag 10 bytes; payload descriptors and RTCP are let off."""
MAX_PAYLOAD = 1150
"""Bytes of video in a packet, which is then at most 1200 bytes long, as WebRTC sends them."""
_ONE_KEY_FRAME = 9999
_TEMPORAL_DELIMITER = b"\x12\x00"
_START_CODE = re.compile(rb"\x00\x00\x00?\x01")
_SEI = 6


@dataclass(frozen=True)
class VideoCodec:
    """One codec: FFmpeg's names of its encoder and decoder, its options, and what of a frame travels."""

    name: str
    encoder: str
    decoder: str
    options: dict[str, str]
    trim: Callable[[bytes], bytes] = bytes

    def missing(self) -> str | None:
        """Return a sentence where the installed PyAV lacks it, None where it is there."""
        for name, mode in ((self.encoder, "w"), (self.decoder, "r")):
            try:
                av.Codec(name, mode)  # type: ignore[arg-type]
            except UnknownCodecError:
                return f"{self.name} was left out: the installed PyAV {av.__version__} has no {name}."
        return None


@dataclass(frozen=True, eq=False)
class Coded:
    """A coded video: `sizes` in bytes of each frame, and the `frames` (T, 256, 256, 3) that come out."""

    sizes: tuple[int, ...]
    frames: Pictures

    @property
    def payload_bytes(self) -> int:
        """The coded frames' bytes."""
        return sum(self.sizes)

    @property
    def wire_bytes(self) -> int:
        """All IP bytes from the sender to the receiver."""
        return wire_bytes(self.sizes)


def packets(size: int) -> int:
    """Return how many packets a coded frame of `size` bytes takes; none for a frame that was dropped."""
    return -(-size // MAX_PAYLOAD)


def wire_bytes(sizes: Sequence[int]) -> int:
    """Return the IP bytes of coded frames of these `sizes`, none of which shares a packet with another."""
    return sum(size + PACKET_OVERHEAD * packets(size) for size in sizes)


def code(codec: VideoCodec, frames: Sequence[Pictures], fps: float, kbps: float) -> Coded:
    """Code `frames`, each (256, 256, 3) uint8 RGB, `fps` per second, at an aim of `kbps`, and decode them.

    Raises KeycastError where the codec fails, or does not give a frame for each.
    """
    # Where it may, SVT-AV1 makes the thread that opens it a real-time one, for good: here, one of its own.
    with ThreadPoolExecutor(1) as alone:
        coding = alone.submit(_there_and_back, codec, frames, fps, kbps)
    try:
        sizes, decoded = coding.result()
    except FFmpegError as error:
        raise KeycastError(f"{codec.name} failed at {kbps:g} kbps: {error.strerror}.") from error
    if len(decoded) != len(frames) or len(sizes) != len(frames):
        counts = f"{len(sizes)} packets and {len(decoded)} pictures of {len(frames)} frames"
        raise KeycastError(f"{codec.name} made {counts} at {kbps:g} kbps; its figures would not compare.")
    return Coded(tuple(sizes), np.stack(decoded))


def _there_and_back(
    codec: VideoCodec, frames: Sequence[Pictures], fps: float, kbps: float
) -> tuple[list[int], list[Pictures]]:
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 would write its settings to stderr; errors it still says
    encoder = _encoder(codec, frames[0], fps, kbps)
    decoder = av.CodecContext.create(codec.decoder, "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_count = 1  # with more, a decoder holds frames back
    sizes: list[int] = []
    decoded: list[Pictures] = []

    def take(coded: Sequence[av.Packet[Any]]) -> None:
        for packet in coded:
            data = codec.trim(bytes(packet))
            sizes.append(len(data))
            decoded.extend(_picture(frame) for frame in decoder.decode(av.Packet(data)))

    for number, picture in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = number, encoder.time_base
        take(encoder.encode(frame))
    take(encoder.encode(None))
    decoded.extend(_picture(frame) for frame in decoder.decode(None))
    return sizes, decoded


def _encoder(codec: VideoCodec, first: Pictures, fps: float, kbps: float) -> VideoCodecContext:
    encoder = av.CodecContext.create(codec.encoder, "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.height, encoder.width = first.shape[:2]
    encoder.pix_fmt = "yuv420p"
    encoder.framerate = Fraction(fps).limit_denominator(1001)
    encoder.time_base = 1 / encoder.framerate
    encoder.bit_rate = round(kbps * 1000)
    encoder.gop_size = _ONE_KEY_FRAME
    encoder.thread_count = 1  # slices and tiles for several threads would cost bits
    encoder.options = dict(codec.options)
    return encoder


def _picture(frame: av.VideoFrame) -> Pictures:
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def without_sei(data: bytes) -> bytes:
    """Return an H.264 frame (Annex B) without its SEI units, in which x264 describes itself at length."""
    starts = [match.start() for match in _START_CODE.finditer(data)]
    units = [data[a:b] for a, b in zip(starts, [*starts[1:], len(data)], strict=True)]
    return b"".join(unit for unit in units if unit.lstrip(b"\x00")[1] & 0x1F != _SEI)


def without_delimiter(data: bytes) -> bytes:
    """Return an AV1 frame without its temporal delimiter, which RTP does not carry."""
    return data.removeprefix(_TEMPORAL_DELIMITER)


CODECS = (
    VideoCodec("x264", "libx264", "h264",
               {"preset": "medium", "tune": "zerolatency", "x264-params": "threads=1:scenecut=0"},
               without_sei),
    VideoCodec("x265", "libx265", "hevc",
               {"preset": "slow", "tune": "zerolatency",
                "x265-params": "log-level=error:info=0:scenecut=0:pools=none:frame-threads=1"}),
    VideoCodec("vp9", "libvpx-vp9", "vp9",
               {"deadline": "realtime", "cpu-used": "3", "lag-in-frames": "0", "auto-alt-ref": "0"}),
    VideoCodec("svt-av1", "libsvtav1", "libdav1d",
               {"preset": "5", "svtav1-params": "rc=2:pred-struct=1:lp=1"}, without_delimiter),
)  # fmt: skip
"""The codecs that a call is compared with."""
