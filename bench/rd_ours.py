"""Our own call, as rate-distortion curves see it: simulated, with the real codec, schedule and filling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bench.rd_calls import Footage, Sent
from bench.simulate import Simulation
from models.forecast.build import best_forecaster, mirrored_forecaster
from sender.presets import Sending, check, frames_per_message, make_codec, scheduler_maker
from shared import picture
from shared.config import PICTURE_CHUNK
from shared.fill import Filler
from shared.interfaces import Backbone
from shared.keypoints import Floats, Pictures
from shared.tables import CodecTables
from shared.wire import HEADER_BYTES, MESSAGE_OVERHEAD

CONSENT_KBPS = 0.65
"""What ICE consent checks take, both directions together."""
_BATCH = 12


class SimulatedCall:
    """A call with one source picture and the setting `sending`, at `qualities` of its codec.

    On the wire, each message and each piece of the source picture is acknowledged by a packet as long as an
    empty message, and consent checks go both ways. The receiver's reports are not counted: `bench bandwidth`
    counts them on a real connection.
    """

    def __init__(
        self, backbone: Backbone, tables: CodecTables | None, sending: Sending, qualities: Sequence[int]
    ) -> None:
        self._backbone, self._tables, self._sending = backbone, tables, sending
        preset, codec = make_codec(sending, tables)
        self.qualities: Sequence[float] = qualities if codec.tables else (0,)
        for quality in self.qualities if codec.tables else ():
            check(replace(sending, quality=int(quality)))
        self._forecaster = best_forecaster(backbone.fingerprint)
        policy = str(sending.schedule) if sending.policy == "alternate" else sending.policy
        self.name = f"{backbone.name} {preset} {policy}"
        self.fingerprint = f"{backbone.fingerprint} {codec.tables} {self._forecaster.name} {sending}"

    def send(self, footage: Footage, quality: float) -> Sent:
        """Send `footage` at `quality`."""
        first = picture.encode(footage.frames[0])
        self._backbone.set_source(picture.decode(first))
        call = self._call(quality)
        shown = np.stack([points for _, points, _ in call.run(self._detect(footage))])
        messages = call.sent.messages
        pieces = -(-len(first) // PICTURE_CHUNK)
        consent = round(CONSENT_KBPS * footage.seconds * 1000 / 8 / 2)
        up = call.sent.payload_bytes + messages * (HEADER_BYTES + MESSAGE_OVERHEAD) + consent
        return Sent(
            self._render(shown), len(first) + call.sent.payload_bytes,
            up + len(first) + pieces * MESSAGE_OVERHEAD, consent + (messages + pieces) * MESSAGE_OVERHEAD,
            len(first), len(first) + 2 * pieces * MESSAGE_OVERHEAD,
        )  # fmt: skip

    def _call(self, quality: float) -> Simulation:
        coded = self._sending.preset != "paper"
        sending = replace(self._sending, quality=int(quality) if coded else None)
        preset, codec = make_codec(sending, self._tables)
        per_message = frames_per_message(sending, preset, codec)
        scheduler = scheduler_maker(sending, per_message, self._tables, mirrored_forecaster)
        return Simulation(
            scheduler(self._forecaster.name), codec, Filler(best_forecaster(self._backbone.fingerprint)),
            per_message=per_message, redundancy=sending.redundancy,
        )  # fmt: skip

    def _detect(self, footage: Footage) -> Floats:
        """Return the keypoints (T, 60) of every 1/30 s."""
        found = [
            self._backbone.detect(np.stack(footage.frames[start : start + _BATCH]))
            for start in range(0, len(footage.frames), _BATCH)
        ]
        return np.concatenate(found)[list(footage.shown)]

    def _render(self, points: Floats) -> list[Pictures]:
        batches = [points[start : start + _BATCH] for start in range(0, len(points), _BATCH)]
        return [shown for batch in batches for shown in self._backbone.render(batch)]
