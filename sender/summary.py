"""Sender-side totals of a call: frames, times, bytes. Each event is reported to it once."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sender.live import Live, Sent
from shared.codec.packet import HEADER_BYTES
from shared.constants import FPS, CallTerms
from shared.interfaces import Connection, NetworkPath
from shared.media.sound_report import sound_figures, sound_line
from shared.protocol.reports import Report
from shared.protocol.tally import Tally
from shared.runtime.sampler import Figures
from shared.runtime.stats import StageTimes, Traffic, kbps, path_suffix, savings
from shared.runtime.usage import Usage, peak_memory_mb


class CallSummary:
    """All figures of a call: those of the whole, and the live ones. What others count is in `tally`."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self.report = Report()
        self._live = Live()
        self.dropped_packets = 0
        self.held_back_packets = 0
        self._rate_halved = 0
        self.reconnects = 0
        self.base = 0
        """The frame of the video that the receiver counts as 0: not the first, where it started again."""
        self.traffic = Traffic()
        self.usage = Usage()
        self.path: NetworkPath = ""
        self._stages = StageTimes()
        self._last: int | None = None
        self._setup = {"setup_source_bytes": 0, "setup_wire_sent": 0, "setup_wire_received": 0}
        self._fields: dict[str, Any] = {}

    def seen(self, number: int, capture: float, detect: float, decide: float) -> None:
        """Frame `number` was captured, its keypoints found, and what ships decided: in seconds each."""
        self._last = number
        self._stages.add("capture", capture)
        self._stages.add("detect", detect)
        self._stages.add("decide", decide)

    def sent(self, packet: bytes, frames: int) -> None:
        """A keypoint packet of so many frames has left."""
        self.usage.first()
        self._tally.packets += 1
        self._tally.frames += frames
        self._tally.payload_bytes += len(packet) - HEADER_BYTES

    def reported(self, report: Report, rate_halved: int) -> None:
        """The receiver has reported; for such reports the rate has been halved so many times."""
        self.report, self._rate_halved = report, rate_halved

    def snapshot(
        self,
        connection: Connection,
        now: float,
        *,
        state: str,
        loss: float,
        limit_kbps: float | None,
        camera_fps: float | None = None,
    ) -> Figures:
        """Return the live figures at `now`; see `sender.live.Live.snapshot`."""
        total, tally = self.traffic.total(connection), self._tally
        sent = Sent(
            payload=tally.payload_bytes,
            pictures=tally.picture_bytes,
            audio=tally.voice.bytes,
            wire_up=total["wire_sent"],
            wire_down=total["wire_received"],
            frames=tally.frames,
            messages=tally.packets,
            held_back=self.held_back_packets,
            dropped=self.dropped_packets,
            reconnects=self.reconnects,
        )
        return self._live.snapshot(now, state, sent, loss, limit_kbps, camera_fps=camera_fps)

    def began(self, connection: Connection) -> None:
        """Streaming begins: what was sent until now was set-up and the source picture."""
        self.usage.begin()
        self._setup = {
            "setup_source_bytes": self._tally.picture_wire_bytes,
            "setup_wire_sent": connection.wire_sent,
            "setup_wire_received": connection.wire_received,
        }

    def close(self, connection: Connection, terms: CallTerms) -> None:
        """Take the final counts of a call by `terms`, which has ended."""
        self.path, tally = connection.path, self._tally
        # The schedule's last block counts whole: what is skipped at its end is part of the video as well.
        schedule = terms.schedule
        block = schedule.observe + schedule.skip
        frames = 0 if self._last is None else self._last + 1
        if frames % block == schedule.observe:
            frames += schedule.skip
        self._fields = {
            "backbone": terms.backbone,
            "policy": _policy(terms),
            "seconds": frames / FPS,
            "packets": tally.packets,
            "frames": tally.frames,
            "payload_bytes": tally.payload_bytes,
            "source_bytes": tally.picture_wire_bytes,
            "picture_size": tally.picture_size,
            **sound_figures(tally.voice.packets, tally.voice.bytes, frames / FPS),
            "pictures_sent": tally.pictures,
            "reconnects": self.reconnects,
            "receiver_frame_0": self.base,
            **self._setup,
            **self.traffic.total(connection),
            **self.traffic.by_cause(connection, tally.said, tally.heard),
        }

    def to_map(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            "role": "sender",
            "path": self.path,
            **self._fields,
            "dropped_packets": self.dropped_packets,
            "held_back_packets": self.held_back_packets,
            "rate_halved": self._rate_halved,
            "cpu": self.usage.cpu,
            "rss_peak_mb": peak_memory_mb(),
            "start_s": self.usage.start_s,
            "stages_ms": self._stages.mean_ms(),
            "receiver_reports": asdict(self.report),
        }

    def lines(self) -> list[str]:
        """Return the call in a line for people."""
        seconds = self._fields.get("seconds", 0.0)
        if not seconds:
            return ["No frame was sent."]
        payload, wire = (kbps(self._fields[name], seconds) for name in ("payload_bytes", "wire_sent"))
        return [
            f"{self._fields['frames']} frames sent in {seconds:.1f} s: payload {payload:.1f} kbps "
            f"({savings(payload):.1f}x below 500), all IP bytes sent {wire:.1f} kbps"
            f"{path_suffix(self.path)}",
            *sound_line(self._fields),
        ]


def _policy(terms: CallTerms) -> str:
    return f"{terms.policy} {terms.schedule}" if terms.policy == "alternate" else terms.policy
