"""One clip's points of rate and distortion: each way of sending it, measured against the clip itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bench.harness.clip_set import Clip, spread
from bench.harness.footage import Footage, film
from bench.harness.ledger import Ledger
from bench.harness.metrics import PerceptualDistance, compare
from bench.rd.codecs import VideoCodec
from bench.rd.rd_calls import OurCall, Sent, send_coded
from shared.keypoints import Pictures

CALL_SECONDS = 60
STATIC = "static"
MEASURES = ("mae", "ssim", "perceptual")
Place = tuple[str, str, float, int, str]


@dataclass(frozen=True)
class Plan:
    """The request: `ours` and `codecs` at `targets` kbps, each at its frames' full rate and parts of it.

    Of each clip the first `seconds` are sent, of which `frames` pictures of 30 per second are measured (0:
    all). `every` holds 1 for every frame of the clip, 2 for every second one, and so on.
    """

    ours: OurCall | None
    codecs: Sequence[VideoCodec]
    targets: Sequence[float]
    every: Sequence[int]
    seconds: float
    frames: int
    perceptual: PerceptualDistance | None

    def places(self, clip: Clip) -> list[Place]:
        """Return what is to be measured of `clip`."""
        call = self.ours
        ours = [(call.name, quality, 1, call.fingerprint) for quality in call.qualities] if call else []
        coded = [
            (codec.name, target, every, "")
            for codec in self.codecs for every in self.every for target in self.targets
        ]  # fmt: skip
        return [(str(clip), *one) for one in ((STATIC, 0.0, 1, ""), *ours, *coded)]


@dataclass(frozen=True)
class Point:
    """One clip sent one way. Rates in kbps: all bytes over the clip's length, but for `call_kbps`.

    quality: the aim in kbps of a codec, our own setting. kbps: payload. wire_kbps: IP bytes of both
    directions; call_kbps: those of a call of a minute, in which the first picture is sent once.
    """

    file: str
    method: str
    person: str
    clip: str
    quality: float
    every: int
    weights: str
    coded_fps: float
    seconds: float
    kbps: float
    wire_kbps: float
    call_kbps: float
    wire_up_kbps: float
    wire_down_kbps: float
    mae: float
    ssim: float
    perceptual: float
    static_mae: float
    static_ssim: float
    static_perceptual: float

    @property
    def place(self) -> Place:
        """What it is the figures of."""
        return self.file, self.method, self.quality, self.every, self.weights


def measure(plan: Plan, clip: Clip, ledger: Ledger[Point]) -> Iterator[Point]:
    """Give the points of `clip` one by one, from `ledger` or measured and added to it.

    Raises ClipError where it is no sound video, KeycastError where a codec fails.
    """
    places = plan.places(clip)
    if all(ledger.find(place) for place in places):
        yield from (point for place in places if (point := ledger.find(place)))
        return
    footage = film(clip, plan.seconds)
    numbers = spread(1, len(footage.shown) - 1, plan.frames or len(footage.shown))
    truth = np.stack([footage.frames[footage.shown[number]] for number in numbers])
    still = _means(truth, footage.frames[0][None], plan.perceptual)
    for place in places:
        if (known := ledger.find(place)) is not None:
            yield known
            continue
        _, method, quality, every, weights = place
        sent = _send(plan, footage, method, quality, every)
        figures = still
        if method != STATIC:
            figures = _means(truth, np.stack([sent.pictures[n] for n in numbers]), plan.perceptual)
        point = Point(
            str(clip), method, clip.person, clip.name, quality, every, weights, footage.fps / every,
            footage.seconds, *rates(sent, footage.seconds),
            *(figures[name] for name in MEASURES), *(still[name] for name in MEASURES),
        )  # fmt: skip
        ledger.add(point)
        yield point


def _send(plan: Plan, footage: Footage, method: str, quality: float, every: int) -> Sent:
    if method == STATIC:
        return Sent((), 0, 0, 0, 0, 0)
    if plan.ours is not None and method == plan.ours.name:
        return plan.ours.send(footage, quality)
    codec = next(codec for codec in plan.codecs if codec.name == method)
    return send_coded(codec, footage, quality, every)


def rates(sent: Sent, seconds: float) -> tuple[float, float, float, float, float]:
    """Return `kbps wire_kbps call_kbps wire_up_kbps wire_down_kbps` of what was sent in `seconds`."""
    wire = sent.wire_up + sent.wire_down
    over = 8 / 1000 / seconds
    call = (wire - sent.first_wire) * over + sent.first_wire * 8 / 1000 / CALL_SECONDS
    return sent.payload * over, wire * over, call, sent.wire_up * over, sent.wire_down * over


def _means(truth: Pictures, received: Pictures, perceptual: PerceptualDistance | None) -> dict[str, float]:
    found = compare(truth, {"": received}, perceptual)
    return {name: float(values.mean()) for name, values in found.items()}
