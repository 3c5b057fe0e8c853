"""Outcomes of rate-distortion curves: what each way of sending a stretch of video makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.harness.footage import Footage
from bench.rd.codecs import Coded, VideoCodec, code, wire_bytes
from shared.keypoints import Pictures


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


def send_coded(codec: VideoCodec, footage: Footage, kbps: float, every: int) -> Sent:
    """Send every `every`-th frame of `footage` with `codec`, aiming at `kbps`, the others being held.

    Its packets count in one direction only: what a receiver reports is let off.
    """
    coded: Coded = code(codec, footage.frames[::every], footage.fps / every, kbps)
    return Sent(
        [coded.frames[index // every] for index in footage.shown], coded.payload_bytes, coded.wire_bytes, 0,
        coded.sizes[0], wire_bytes(coded.sizes[:1]),
    )  # fmt: skip
