"""A call without a network or a clock: what a receiver would show of a clip, and the bytes it would take.

The same scheduler, codec and filling as in a call, in a fixed order: frame n is captured at n / 30 s,
a message arrives at the moment its last frame is captured, and frame n is shown when a message that begins
with it would just have gathered, or as many frames later as the playout delay is given. So every frame that
ships is in time, as on a good network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from models.forecast.build import best_forecaster, mirrored_forecaster
from receiver.jitter_buffer import JitterBuffer
from sender.presets import Sending, frames_per_message, make_codec, scheduler_maker
from sender.schedule import Batch, Redundancy, Scheduler
from shared.codec.keypoint_codec import Block, Codec, filled_copies
from shared.codec.packet import HEADER_BYTES
from shared.codec.tables import CodecTables
from shared.concealment import Concealer, Kind
from shared.constants import FPS
from shared.interfaces import Backbone, Source
from shared.keypoints import Floats, Pictures
from shared.transport.media import MEDIA_OVERHEAD

_BATCH = 12
# Bytes, as counted between two processes over a minute of the saver preset (`bench bandwidth`).
_AROUND_UP = HEADER_BYTES + MEDIA_OVERHEAD
"""Around a message's payload."""
_IDLE_UP = 16
_IDLE_DOWN = 76
"""A second without a message: ICE's checks up; checks and a report down."""


@dataclass
class Sent:
    """Totals sent of `frames` frames: messages, frames in them, payload bytes."""

    frames: int = 0
    messages: int = 0
    shipped: int = 0
    payload_bytes: int = 0
    lost: int = 0
    kinds: dict[Kind, int] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.frames / FPS

    @property
    def payload_kbps(self) -> float:
        """The rate of the encoded keypoints alone."""
        return self.payload_bytes * 8 / 1000 / self.seconds if self.frames else 0.0

    @property
    def wire_up_bytes(self) -> int:
        """All IP bytes from the sender but for the source picture; see `_AROUND_UP`."""
        return self.payload_bytes + round(self.messages * _AROUND_UP + self.seconds * _IDLE_UP)

    @property
    def wire_down_bytes(self) -> int:
        """All IP bytes from the receiver: reports and ICE's checks."""
        return round(self.seconds * _IDLE_DOWN)

    @property
    def wire_up_kbps(self) -> float:
        """The rate of `wire_up_bytes`."""
        return self.wire_up_bytes * 8 / 1000 / self.seconds if self.frames else 0.0


class Simulation:
    """One call: `run` gives the keypoints that the receiver renders, `sent` counts what it took.

    `loss` of the messages never arrive, drawn from `seed`; `per_message` is the longest a frame waits to be
    sent, `delay` what the receiver adds, in frames.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        codec: Codec,
        concealer: Concealer,
        *,
        per_message: int,
        redundancy: int = 0,
        loss: float = 0.0,
        seed: int = 0,
        delay: int = 0,
    ) -> None:
        self._scheduler = scheduler
        self._codec = codec
        self._concealer = concealer
        self._wait = per_message - 1 + delay
        self._buffer = JitterBuffer()
        self._redundancy = Redundancy(redundancy)
        self._loss = loss
        self._chance = np.random.default_rng(seed)
        self.sent = Sent()

    def run(
        self, keypoints: Floats, on_frame: Callable[[int, bool], None] | None = None
    ) -> Iterator[tuple[int, Floats, Kind]]:
        """Give number, keypoints (D,) and kind of every frame shown, `keypoints` (T, D) being the truth.

        `on_frame` is called with each frame when it is due at the sender, and whether the sender looks at it.
        """
        for number, frame in enumerate(keypoints):
            self.sent.frames += 1
            wanted = self._scheduler.wants(number)
            if on_frame is not None:
                on_frame(number, wanted)
            if wanted:
                for batch in self._scheduler.add(number, 0, frame):
                    self._deliver(batch)
            yield from self._show(number - self._wait)
        for batch in self._scheduler.flush():
            self._deliver(batch)
        for number in range(len(keypoints) - self._wait, len(keypoints)):
            yield from self._show(number)

    def _deliver(self, batch: Batch) -> None:
        payload = self._codec.encode(Block(batch.frames, self._redundancy.copies(batch.first)))
        self._redundancy.sent(batch)
        self.sent.messages += 1
        self.sent.shipped += len(batch.frames)
        self.sent.payload_bytes += len(payload)
        block = self._codec.decode(payload, len(batch.frames))
        self._scheduler.shipped(batch, block.frames)
        if self._chance.random() < self._loss:
            self.sent.lost += 1
            return
        self._buffer.put(batch.first, block.frames)
        self._buffer.put_copies(filled_copies(batch.first, block.copies))

    def _show(self, number: int) -> Iterator[tuple[int, Floats, Kind]]:
        if number < 0:
            return
        self._concealer.observe(self._buffer.take(number))
        filled = self._concealer.fill(number, self._buffer.following(number))
        if filled is None:
            return
        self.sent.kinds[filled.kind] = self.sent.kinds.get(filled.kind, 0) + 1
        yield number, filled.keypoints, filled.kind


def simulated(
    backbone: Backbone, tables: CodecTables | None, sending: Sending, *, delay: int = 0, loss: float = 0.0
) -> Simulation:
    """Return a call, sent, forecast and shown as the commands would; see `Simulation` for `delay`, `loss`.

    RequestError where tables are missing.
    """
    name, codec = make_codec(sending, tables, backbone.layout)
    per_message = frames_per_message(sending, name, codec)
    forecaster = best_forecaster(backbone.detector)
    make = scheduler_maker(sending, per_message, tables, backbone.layout, mirrored_forecaster)
    concealer = Concealer(forecaster, backbone.layout)
    return Simulation(
        make(forecaster.name), codec, concealer, per_message=per_message, redundancy=sending.redundancy,
        delay=delay, loss=loss,
    )  # fmt: skip


def render_all(backbone: Backbone, source: Source, points: Floats) -> Pictures:
    """Return the pictures (T, 256, 256, 3) of `points` (T, D), in batches that bound the memory."""
    batches = [
        backbone.render(source, points[start : start + _BATCH]) for start in range(0, len(points), _BATCH)
    ]
    return np.concatenate(batches)


def detect_all(backbone: Backbone, pictures: Sequence[Pictures]) -> Floats:
    """Return the keypoints (T, D) of `pictures`, in batches that bound the memory."""
    starts = range(0, len(pictures), _BATCH)
    return np.concatenate([backbone.detect(np.stack(pictures[start : start + _BATCH])) for start in starts])
