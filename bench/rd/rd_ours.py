"""Our own call, as rate-distortion curves see it: simulated, with the real codec, schedule and filling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.harness.footage import Footage
from bench.harness.simulate import detect_all, simulated
from bench.harness.simulated_pictures import SimulatedPictures
from bench.rd.rd_calls import Sent
from models.forecast.build import best_forecaster
from sender.gallery import GalleryOptions
from sender.presets import Sending, check, make_codec, policy_of, schedule_of
from shared.codec.tables import CodecTables
from shared.interfaces import Backbone


class SimulatedCall:
    """A call with the setting `sending`, at `qualities` of its codec, and source pictures as `gallery` says.

    Overhead on the wire, reports and acknowledgements are counted as `bench.harness.simulate` says.
    """

    def __init__(
        self,
        backbone: Backbone,
        tables: CodecTables | None,
        sending: Sending,
        gallery: GalleryOptions,
        qualities: Sequence[int],
    ) -> None:
        self._backbone, self._tables, self._sending = backbone, tables, sending
        self._gallery = gallery
        preset, codec = make_codec(sending, tables, backbone.layout)
        self.qualities: Sequence[float] = qualities if codec.tables else (0,)
        for quality in self.qualities if codec.tables else ():
            check(replace(sending, quality=int(quality)))
        forecaster = best_forecaster(backbone.detector).name
        policy = policy_of(sending, tables)
        when = str(schedule_of(sending, tables)) if policy == "alternate" else policy
        self.name = f"{backbone.name} {preset} {when}"
        self.fingerprint = f"{backbone.fingerprint} {codec.tables} {forecaster} {sending} {gallery}"

    def send(self, footage: Footage, quality: float) -> Sent:
        """Send `footage` at `quality`."""
        coded = self._sending.preset != "paper"
        sending = replace(self._sending, quality=int(quality) if coded else None)
        keypoints = detect_all(self._backbone, footage.frames)[list(footage.shown)]
        gallery = SimulatedPictures(self._backbone, footage.frames[0], self._gallery)

        def capture(number: int, looked_at: bool) -> None:
            picture = footage.frames[footage.shown[number]] if looked_at else None
            gallery.step(number, picture, keypoints[number])

        call = simulated(self._backbone, self._tables, sending)
        rendered = [
            gallery.draw(points, gallery.choose(points)) for _, points, _ in call.run(keypoints, capture)
        ]
        sent, source = call.sent, gallery.wire_bytes
        return Sent(
            rendered, gallery.payload_bytes + sent.payload_bytes, source + sent.wire_up_bytes,
            sent.wire_down_bytes, gallery.payload_bytes, source,
        )  # fmt: skip
