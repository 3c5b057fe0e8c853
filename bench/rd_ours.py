"""Our own call, as rate-distortion curves see it: simulated, with the real codec, schedule and filling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bench.rd_calls import Footage, Sent
from bench.simulate import detect_all, render_all, simulate
from models.forecast.build import best_forecaster
from sender.presets import Sending, check, make_codec
from shared import picture
from shared.feed import wire_bytes
from shared.interfaces import Backbone
from shared.tables import CodecTables


class SimulatedCall:
    """A call with one source picture and the setting `sending`, at `qualities` of its codec.

    What lies around messages on the wire, reports and acknowledgements, is counted as `bench.simulate` says.
    """

    def __init__(
        self, backbone: Backbone, tables: CodecTables | None, sending: Sending, qualities: Sequence[int]
    ) -> None:
        self._backbone, self._tables, self._sending = backbone, tables, sending
        preset, codec = make_codec(sending, tables)
        self.qualities: Sequence[float] = qualities if codec.tables else (0,)
        for quality in self.qualities if codec.tables else ():
            check(replace(sending, quality=int(quality)))
        forecaster = best_forecaster(backbone.fingerprint).name
        policy = str(sending.schedule) if sending.policy == "alternate" else sending.policy
        self.name = f"{backbone.name} {preset} {policy}"
        self.fingerprint = f"{backbone.fingerprint} {codec.tables} {forecaster} {sending}"

    def send(self, footage: Footage, quality: float) -> Sent:
        """Send `footage` at `quality`."""
        first = picture.encode(footage.frames[0])
        self._backbone.set_source(picture.decode(first))
        coded = self._sending.preset != "paper"
        sending = replace(self._sending, quality=int(quality) if coded else None)
        keypoints = detect_all(self._backbone, footage.frames)[list(footage.shown)]
        sent, shown = simulate(self._backbone, self._tables, sending, keypoints)
        first_wire = wire_bytes(len(first))
        return Sent(
            list(render_all(self._backbone, np.stack([points for _, points, _ in shown]))),
            len(first) + sent.payload_bytes, first_wire + sent.wire_up_bytes, sent.wire_down_bytes,
            len(first), first_wire,
        )  # fmt: skip
