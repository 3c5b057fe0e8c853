"""Inputs of rate-distortion curves: a stretch of video, and the results of each way of sending it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.harness.clip_set import Clip, ClipError
from bench.rd.codecs import Coded, VideoCodec, code, wire_bytes
from sender.capture import open_source
from shared.constants import FPS
from shared.errors import KeycastError
from shared.keypoints import Pictures


@dataclass(frozen=True, eq=False)
class Footage:
    """A stretch of a clip: its different `frames`, and which of them each 1/30 s of a call shows.

    `shown` rises from 0 and is as long as the stretch, in 1/30 s.
    """

    frames: Sequence[Pictures]
    shown: Sequence[int]

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.shown) / FPS

    @property
    def fps(self) -> float:
        """Different frames per second: the clip's own rate, at most 30."""
        return len(self.frames) / self.seconds


@dataclass(frozen=True, eq=False)
class Sent:
    """Outcome of sending footage: the `pictures` shown, one each 1/30 s, and the bytes it took.

    `first_payload` and `first_wire` are what of `payload` and of both directions' wire bytes went into the
    first picture (a codec's key frame, a keypoint call's source pictures): a call needs it once.
    """

    pictures: Sequence[Pictures]
    payload: int
    wire_up: int
    wire_down: int
    first_payload: int
    first_wire: int


class OurCall(Protocol):
    """A keypoint call without a network, to be measured at several settings, `qualities`."""

    name: str
    fingerprint: str
    """Changes with whatever changes its figures: the weights, the codec's tables, the way of sending."""
    qualities: Sequence[float]

    def send(self, footage: Footage, quality: float) -> Sent:
        """Send `footage` at `quality`."""
        ...


def film(clip: Clip, seconds: float) -> Footage:
    """Return the first `seconds` of `clip` as a call takes it in. Raises ClipError where it is not sound."""
    frames: list[Pictures] = []
    shown: list[int] = []
    try:
        source = open_source(str(clip.file.absolute()))
        try:
            while len(shown) < round(seconds * FPS) and (now := source.frame(len(shown))) is not None:
                # Where the clip has fewer than 30 per second, a source repeats the very picture, not a copy.
                if not frames or now is not frames[-1]:
                    frames.append(now)
                shown.append(len(frames) - 1)
        finally:
            source.close()
    except KeycastError as error:
        raise ClipError(str(error)) from error
    if len(frames) < 2:
        raise ClipError(f"{clip} has fewer than two frames.")
    return Footage(frames, shown)


def send_coded(codec: VideoCodec, footage: Footage, kbps: float, every: int) -> Sent:
    """Send every `every`-th frame of `footage` with `codec`, aiming at `kbps`, the others being held.

    Its packets count in one direction only: what a receiver reports is let off.
    """
    coded: Coded = code(codec, footage.frames[::every], footage.fps / every, kbps)
    return Sent(
        [coded.frames[index // every] for index in footage.shown], coded.payload_bytes, coded.wire_bytes, 0,
        coded.sizes[0], wire_bytes(coded.sizes[:1]),
    )  # fmt: skip
