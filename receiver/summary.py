"""Receiver-side totals of a call: frames by kind, times, bytes. Each event is reported to it once."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

from receiver.latency import apart, is_plausible
from receiver.live import Counts, Live, Snapshot
from receiver.receiver_statistics import ReceiverStatistics
from shared.clock import elapsed_ms
from shared.concealment import Kind
from shared.interfaces import Connection, NetworkPath
from shared.media.sound_report import sound_figures, sound_line
from shared.protocol.events import FramesArrived
from shared.protocol.reports import Report
from shared.protocol.tally import Tally
from shared.runtime.stats import Reservoir, StageTimes, Traffic, kbps, path_suffix, percentiles
from shared.runtime.usage import Usage, peak_memory_mb

_FRAMES_LISTED = 20_000
_ARRIVALS_KEPT = 1024
_RECENT_FRAMES = 300


@dataclass(frozen=True)
class Shown:
    """One frame handed to the sink, `late` seconds after its moment.

    Other times are wall clock, ms modulo 2**32; `done` is in monotonic seconds.
    """

    number: int
    kind: Kind
    late: float
    began_ms: int
    done_ms: int
    done: float


class CallSummary:
    """All figures of a call: those of the whole, the live ones, and what is reported to the sender.

    Report every message (`arrived`) and every frame (`shown`) to it; what others count is in `tally`. Memory
    stays bounded however long the call runs.
    """

    def __init__(self, fps: int, tally: Tally) -> None:
        self._fps = fps
        self.tally = tally
        self._kinds: Counter[Kind] = Counter()
        self._captured: tuple[int, int] | None = None
        self._arrivals: dict[int, int] = {}
        self._latency = Reservoir()
        self._apart_s, self._apart_frames = 0.0, 0
        self._recent: deque[float] = deque(maxlen=_RECENT_FRAMES)
        self._parts = {name: Reservoir() for name in ("arrival", "buffer", "present")}
        self._frames: list[tuple[int, str, bool]] = []
        self._moments: list[int] = []
        self._last_done: float | None = None
        self._span = 0  # frames that had a moment, those left out included
        self._last = 0
        self._in_time = 0
        self.longest_gap_ms = 0
        self.longest_held = 0
        self._held = 0
        self.playout_delay_ms = 0.0
        self.processing_delay_ms = 0.0
        """What a frame is given from being decided on to being shown; all but the offset is in the above."""
        self.lateness = Reservoir()
        """How long after its moment each frame was handed to the sink, in ms."""
        self.dropped = 0
        self.started = False
        self._resumed = 0
        self._statistics = ReceiverStatistics()
        self.traffic = Traffic()
        self.usage = Usage()
        self.live = Live()
        self.path: NetworkPath = ""
        self._fields: dict[str, Any] = {}

    def began(self) -> None:
        """The call is set up, or set up again."""
        if not self.started:
            self.usage.begin()
        self.started = True

    def resumed(self, path: NetworkPath) -> None:
        """The call goes on over another connection, which runs by `path`."""
        self.path = path
        self._resumed += 1
        self._statistics = ReceiverStatistics()

    def delayed(self, playout_ms: float, processing_ms: float) -> None:
        """Frames wait for so long: from arrival until they are due; and are given so long to be drawn."""
        self.playout_delay_ms, self.processing_delay_ms = playout_ms, processing_ms

    def arrived(self, event: FramesArrived, now: float, wall_ms: int) -> None:
        """A packet came at `now` (monotonic seconds), `wall_ms` by the wall's clock."""
        count = len(event.frames)
        self._statistics.arrived(event.first, count, event.captured_ms, now)
        self.live.arrived(count, now)
        if event.timestamp_ms is not None:
            self._captured = (event.first, event.timestamp_ms)
        for number in range(event.first, event.first + count):
            self._arrivals.setdefault(number, wall_ms)
        while len(self._arrivals) > _ARRIVALS_KEPT:
            del self._arrivals[next(iter(self._arrivals))]

    def shown(self, frame: Shown) -> None:
        """A frame was handed to the sink."""
        self.usage.first()
        self._kinds[frame.kind] += 1
        self.lateness.add(1000 * frame.late)
        # Before the moment of the frame after it.
        in_time = frame.late <= 1 / self._fps
        self._in_time += in_time
        self._span += max(1, frame.number - self._last) if self._span else 1
        self._last = frame.number
        if len(self._frames) < _FRAMES_LISTED:
            self._frames.append((frame.number, frame.kind.value, in_time))
            self._moments.append(frame.done_ms)
        if self._last_done is not None:
            # Not by the wall's clock, which may be set meanwhile.
            self.longest_gap_ms = max(self.longest_gap_ms, round(1000 * (frame.done - self._last_done)))
        self._last_done = frame.done
        self._held = self._held + 1 if frame.kind is Kind.HELD else 0
        self.longest_held = max(self.longest_held, self._held)
        latency = self._measure(frame)
        self.live.shown(frame.number, frame.kind, in_time, latency, frame.done)

    def _measure(self, frame: Shown) -> int | None:
        """Take in the frame's latency and its parts, unless the clocks make nonsense of them.

        Return the latency in ms, whatever it is; None where it is not known.
        """
        if self._captured is None:
            return None
        # A forecast frame was never captured; its moment follows from the newest packet's.
        captured = self._captured[1] + round((frame.number - self._captured[0]) * 1000 / self._fps)
        latency = elapsed_ms(frame.done_ms, captured)
        if not is_plausible(latency):
            self._apart_frames += 1
            # A frame that was drawn before the machine slept has really taken so long.
            if self._apart_frames >= self._fps:
                self._apart_s = abs(latency) / 1000
            return latency
        self._apart_frames = 0
        self._latency.add(latency)
        self._recent.append(latency)
        arrival = self._arrivals.get(frame.number)
        if frame.kind is Kind.OBSERVED and arrival is not None:
            self._parts["arrival"].add(elapsed_ms(arrival, captured))
            self._parts["buffer"].add(elapsed_ms(frame.began_ms, arrival))
            self._parts["present"].add(elapsed_ms(frame.done_ms, frame.began_ms))
        return latency

    def report(self, connection: Connection, now: float) -> Report:
        """Return the report to the sender at `now`: what has arrived, and frames by kind."""
        self._count(connection, now)
        filled = self._kinds[Kind.FORECAST] + self._kinds[Kind.INTERPOLATED]
        return self._statistics.report(now, self._kinds[Kind.OBSERVED], filled, self._kinds[Kind.HELD])

    def snapshot(self, connection: Connection, now: float) -> Snapshot:
        """Return the live figures at `now`; see `receiver.live.Live.snapshot`."""
        self._count(connection, now)
        return self.live.snapshot(now)

    def _count(self, connection: Connection, now: float) -> None:
        total, tally = self.traffic.total(connection), self.tally
        counts = Counts(
            payload=tally.payload_bytes,
            pictures=tally.picture_bytes,
            audio=tally.voice.bytes,
            wire_up=total["wire_received"],
            wire_down=total["wire_sent"],
            expected=total["pieces_expected"] + tally.voice.expected,
            received=total["pieces_received"] + tally.voice.received,
        )
        ways = self.traffic.by_cause(connection, tally.said, tally.heard).values()
        self.live.count(now, counts, sum(map(Counter, ways), Counter[str]()))

    def close(self, connection: Connection, stages: StageTimes) -> None:
        """Take the final counts: the call has ended."""
        self.path, tally = connection.path, self.tally
        self._fields = {
            "picture_size": tally.picture_size,
            "packets": tally.packets,
            "payload_bytes": tally.payload_bytes,
            "picture_bytes": tally.picture_bytes,
            "bad_packets": tally.bad_packets + tally.flood_packets,
            "late_frames": tally.late_frames,
            "copied_frames": tally.copied_frames,
            **sound_figures(tally.voice.packets, tally.voice.bytes, self._span / self._fps),
            "audio_packets_lost": tally.voice.expected - tally.voice.received,
            "audio_packets_bad": tally.voice.bad + tally.voice.flood,
            "audio_recovered": tally.voice.recovered,
            "audio_late": tally.voice.late,
            **self.traffic.total(connection),
            **self.traffic.by_cause(connection, tally.said, tally.heard),
            "stages_ms": stages.mean_ms(),
        }

    def to_map(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        total = sum(self._kinds.values())
        seconds = self._span / self._fps
        latency = self._latency.percentiles()
        stages = self._fields.get("stages_ms", {})
        return {
            "role": "receiver",
            "path": self.path,
            "seconds": seconds,
            "frames": total,
            **{f"frames_{kind.value}": self._kinds[kind] for kind in Kind},
            "frames_dropped": self.dropped,
            "reconnects": self._resumed,
            "fps_shown": self._in_time / seconds if seconds else 0.0,
            "fps_rendered": 1000 / stages["render"] if stages.get("render") else 0.0,
            "longest_freeze_ms": self.longest_gap_ms,
            "longest_held_ms": round(1000 * self.longest_held / self._fps),
            "playout_delay_ms": self.playout_delay_ms,
            "processing_delay_ms": self.processing_delay_ms,
            **{f"latency_{name}_ms": value for name, value in latency._asdict().items()},
            "clocks_apart_s": self._apart_s,
            "picture_late_p95_ms": self.lateness.percentiles().p95,
            "latency_recent_ms": percentiles(list(self._recent)).p50,
            **{f"latency_{name}_p95_ms": part.percentiles().p95 for name, part in self._parts.items()},
            "cpu": self.usage.cpu,
            "rss_peak_mb": peak_memory_mb(),
            "first_frame_s": self.usage.first_frame_s,
            **self._fields,
            "shown": self._frames,
            "shown_ms": self._moments,
        }

    def lines(self) -> list[str]:
        """Return the call in a few lines for people."""
        values = self.to_map()
        seconds = values["seconds"]
        payload = kbps(values.get("payload_bytes", 0), seconds)
        wire = kbps(values.get("wire_received", 0), seconds)
        return [
            f"{values['frames']} frames in {seconds:.1f} s: {values['frames_observed']} observed, "
            f"{values['frames_forecast']} forecast, {values['frames_interpolated']} interpolated, "
            f"{values['frames_held']} held; "
            f"{values['fps_shown']:.1f} fps shown in time",
            f"payload {payload:.1f} kbps, all IP bytes received {wire:.1f} kbps; "
            f"latency {self._latency_text()}{path_suffix(self.path)}",
            *sound_line(values),
        ]

    def _latency_text(self) -> str:
        p50, p95, _ = self._latency.percentiles()
        known = f"p50 {p50:.0f} ms, p95 {p95:.0f} ms" if self._latency.count or not self._apart_s else "-"
        why = f" (the two machines' clocks were {apart(self._apart_s)} apart)" if self._apart_s else ""
        return known + why
