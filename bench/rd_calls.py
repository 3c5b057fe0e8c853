"""What rate-distortion curves compare: a stretch of video, and what came of sending it one way or another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bench.codecs import Coded, VideoCodec, code, wire_bytes
from bench.quality_clips import Clip, ClipError
from models.forecast.build import load_forecaster
from receiver.fill import Filler
from sender.capture import open_source
from sender.schedule import Batcher
from shared import picture
from shared.codec import PaperCodec
from shared.config import FPS, PICTURE_CHUNK, Schedule
from shared.errors import KeycastError
from shared.interfaces import Backbone
from shared.keypoints import Floats, Pictures
from shared.wire import KeypointPacket

_BATCH = 12


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
        """Different frames a second: the clip's own rate, at most 30."""
        return len(self.frames) / self.seconds


@dataclass(frozen=True, eq=False)
class Sent:
    """What came of sending footage: the `pictures` shown, one each 1/30 s, and the bytes it took.

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
                # Where the clip has fewer than 30 a second, a source repeats the very picture, not a copy.
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


class PaperCall:
    """The paper's call: float32 keypoints, three frames a message; the quality is the share of frames sent.

    Frames arrive in time, in order and whole, and each message is acknowledged, as data channels do.
    """

    qualities: Sequence[float] = (0.5, 1.0)
    _MESSAGE = 93
    """Bytes around one message: IP 20, UDP 8, DTLS 37, SCTP 28; an acknowledgement is as long."""
    _CONSENT_KBPS = 0.65

    def __init__(self, backbone: Backbone) -> None:
        self.name = f"{backbone.name} paper"
        self.fingerprint = backbone.fingerprint
        self._backbone = backbone
        self._codec = PaperCodec()

    def send(self, footage: Footage, quality: float) -> Sent:
        """Send `footage`."""
        schedule = Schedule(6, 0 if quality >= 1 else round(6 / quality) - 6)
        first = picture.encode(footage.frames[0])
        self._backbone.set_source(picture.decode(first))
        keypoints = self._detect(footage)
        messages = self._messages(schedule, keypoints)
        chunks = -(-len(first) // PICTURE_CHUNK)
        first_up, first_down = len(first) + chunks * self._MESSAGE, chunks * self._MESSAGE
        consent = round(self._CONSENT_KBPS * footage.seconds * 1000 / 8 / 2)
        return Sent(
            self._received(footage, messages),
            len(first) + sum(len(packet.payload) for packet in messages),
            first_up + consent + sum(len(packet.pack()) + self._MESSAGE for packet in messages),
            first_down + consent + len(messages) * self._MESSAGE, len(first), first_up + first_down,
        )  # fmt: skip

    def _detect(self, footage: Footage) -> Floats:
        """Return the keypoints (T, 60) of every 1/30 s."""
        found = [
            self._backbone.detect(np.stack(footage.frames[start : start + _BATCH]))
            for start in range(0, len(footage.frames), _BATCH)
        ]
        return np.concatenate(found)[list(footage.shown)]

    def _messages(self, schedule: Schedule, keypoints: Floats) -> list[KeypointPacket]:
        batcher = Batcher(schedule, per_message=3)
        ready = [
            batch for number, frame in enumerate(keypoints) if schedule.ships(number)
            for batch in batcher.add(number, 0, frame)
        ]  # fmt: skip
        return [
            KeypointPacket(batch.first, 0, len(batch.frames), self._codec.encode(batch.frames))
            for batch in [*ready, *batcher.flush()]
        ]

    def _received(self, footage: Footage, messages: Sequence[KeypointPacket]) -> list[Pictures]:
        observed = {
            packet.first + index: frame for packet in messages
            for index, frame in enumerate(self._codec.decode(packet.payload, packet.count))
        }  # fmt: skip
        filler = Filler(load_forecaster("damped"))
        points = []
        for number in range(len(footage.shown)):
            filler.observe({number: observed[number]} if number in observed else {})
            filled = filler.fill(number)
            assert filled is not None  # the first frame of a schedule ships
            points.append(filled.keypoints)
        batches = [np.stack(points[start : start + _BATCH]) for start in range(0, len(points), _BATCH)]
        return [shown for batch in batches for shown in self._backbone.render(batch)]


def our_call(backbone: Backbone) -> OurCall:
    """Return the call that `backbone` is measured in: the one place to change when there is a better one."""
    return PaperCall(backbone)
