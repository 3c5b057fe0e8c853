"""Live figures of a call, for whoever watches it. `now` is given, no clock is read."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple

from receiver.latency import is_plausible
from shared.concealment import Kind
from shared.constants import FPS, CallTerms
from shared.runtime.rolling import Totals
from shared.runtime.stats import kbps, percentiles, rates

RATE_SECONDS = 2.0
"""Rates, frames per second and latency are those of this time."""
LOSS_SECONDS = 5.0
STRIP_FRAMES = 120
SLACK_SECONDS = 0.3
"""Lateness of a message, beyond what the schedule explains, before its absence is reported."""
ADAPTIVE_FRAMES = FPS
"""A sender that adapts ships at least once in so many frames."""
STILL_FRAMES = 6
"""A picture that has been held for so many frames in a row stands still."""
STOPPED_SECONDS = 1.0
OVERHEAD = ("ip", "dtls", "sctp", "acknowledgements", "reports", "ice", "rtp", "set_up")
"""What is around payload, pictures and sound, of `shared.interfaces.CAUSES`."""
_MAX_FRAMES = round(4 * RATE_SECONDS * FPS)

STATES = ("listening", "connecting", "live", "forecasting", "stalled", "on hold")
"""on hold: by the sender's own word, which a call has and `Live` does not."""
LETTERS = {Kind.OBSERVED: "o", Kind.FORECAST: "f", Kind.INTERPOLATED: "i", Kind.HELD: "h"}

Snapshot = dict[str, str | int | float | None]
"""Plain JSON values by name; see `Live.snapshot`."""


@dataclass(frozen=True)
class Counts:
    """Totals of a call so far: bytes by kind, all IP bytes each way, and pieces of messages.

    `payload` are encoded keypoints, `pictures` source pictures, `audio` sound, each without what surrounds
    them; `wire_up` comes from the sender, `wire_down` goes to it. Of `expected` pieces that the sender has
    sent, `received` have come.
    """

    payload: int = 0
    pictures: int = 0
    audio: int = 0
    wire_up: int = 0
    wire_down: int = 0
    expected: int = 0
    received: int = 0


def with_own(figures: Snapshot, own: Mapping[str, object] | None) -> Snapshot:
    """Return live figures in which what this end sends itself, `own`, is no overhead: of both directions."""
    if own is None:
        return figures
    ours = {name: float(str(own[name] or 0)) for name in ("payload_kbps", "pictures_kbps", "audio_kbps")}
    both = {name: float(figures[name] or 0) + rate for name, rate in ours.items() if name in figures}
    if len(both) < len(ours):
        return figures
    overhead = max(0.0, float(figures["overhead_kbps"] or 0) - sum(ours.values()))
    return {**figures, **both, "overhead_kbps": overhead}


class _Frame(NamedTuple):
    at: float
    in_time: bool
    latency_ms: float | None


def listening() -> Snapshot:
    """Return what `Live.snapshot` would, where there is no call."""
    return {**Live().snapshot(0.0), "state": "listening"}


class Live:
    """The rolling figures of one call; memory stays bounded. Times are monotonic seconds and never decrease.

    Report every message to it (`arrived`) and every frame (`shown`), and give it the call's totals (`count`)
    a few times per second; `snapshot` returns the figures.
    """

    def __init__(self) -> None:
        self._totals = Totals(LOSS_SECONDS)
        self._frames: deque[_Frame] = deque(maxlen=_MAX_FRAMES)
        self._strip: deque[str] = deque(maxlen=STRIP_FRAMES)
        self._began: float | None = None
        self._number = 0
        self._arrived = 0.0
        self._silence_frames = 0
        self._per_message = 1

    def agreed(self, terms: CallTerms) -> None:
        """Take note of the sender's terms: how long it may be silent by its schedule."""
        self._silence_frames = terms.skip if terms.policy == "alternate" else ADAPTIVE_FRAMES

    def arrived(self, frames: int, now: float) -> None:
        """A keypoint message of so many frames came."""
        self._arrived = now
        self._per_message = max(self._per_message, frames)

    def shown(self, number: int, kind: Kind, in_time: bool, latency_ms: float | None, now: float) -> None:
        """Frame `number` was handed to the sink, so long after its capture by the clocks (None: unknown)."""
        self._began = now if self._began is None else self._began
        self._number = number
        self._strip.append(LETTERS[kind])
        self._frames.append(_Frame(now, in_time, latency_ms))

    def count(self, now: float, counts: Counts, causes: Mapping[str, int]) -> None:
        """Take in the call's totals at `now`, as often as there are any.

        `causes` are the IP bytes of both ways by `shared.interfaces.CAUSES`.
        """
        self._totals.add(now, {**asdict(counts), **{cause: causes.get(cause, 0) for cause in OVERHEAD}})

    def snapshot(self, now: float) -> Snapshot:
        """Return the figures at `now`, flat.

        `state`: one of `STATES`. `seconds` since the first frame was shown. Over the last 2 s:
        `payload_kbps`, `pictures_kbps`, `audio_kbps`, `wire_up_kbps` (from the sender), `wire_down_kbps`, and
        `overhead_kbps`, which is both of these less the other three; of it a figure for each of `OVERHEAD`,
        such as `ip_kbps`, and `headers_kbps`, what is left: those of the messages themselves; `fps_shown`,
        frames in time per second; `latency_ms`, the median from capture to sink, None while not known. Where
        that is since the clocks of the two machines disagree, `clocks_apart_s` says by how much, else 0. Over
        the last 5 s: `loss_percent` of the pieces of messages from the sender. `frame` is the newest frame's
        number, `strip` a letter for each of the newest 120 frames: o observed, f forecast, i interpolated, h
        held.
        """
        recent = [frame for frame in self._frames if now - frame.at < RATE_SECONDS]
        return {
            "state": self._state(now),
            "seconds": self._seconds(now),
            **self._rates(now),
            "fps_shown": self._fps(recent, now),
            **_latency([frame.latency_ms for frame in recent if frame.latency_ms is not None]),
            "loss_percent": self._loss(now),
            "frame": self._number,
            "strip": "".join(self._strip),
        }

    def _state(self, now: float) -> str:
        if not self._frames:
            return "connecting"
        still = list(self._strip)[-STILL_FRAMES:] == [LETTERS[Kind.HELD]] * STILL_FRAMES
        if still or now - self._frames[-1].at > STOPPED_SECONDS:
            return "stalled"
        explained = (self._silence_frames + self._per_message) / FPS + SLACK_SECONDS
        return "forecasting" if now - self._arrived > explained else "live"

    def _seconds(self, now: float) -> float:
        return 0.0 if self._began is None else now - self._began

    def _fps(self, recent: list[_Frame], now: float) -> float:
        """Return frames in time per second; of a call that has just begun, over its own length."""
        # The first frame's own moment counts: 30 frames take a second, not 29/30.
        span = min(RATE_SECONDS, self._seconds(now) + 1 / FPS)
        return sum(frame.in_time for frame in recent) / span

    def _rates(self, now: float) -> dict[str, float]:
        seconds, new = self._totals.over(RATE_SECONDS, now)
        found = rates(seconds, new)
        parts = {f"{cause}_kbps": kbps(new.get(cause, 0), seconds) for cause in OVERHEAD}
        rest = max(0.0, found["overhead_kbps"] - sum(parts.values()))
        return {**found, **parts, "headers_kbps": rest}

    def _loss(self, now: float) -> float:
        _, new = self._totals.over(LOSS_SECONDS, now)
        # Late pieces may fill gaps from before.
        lost = max(0, new["expected"] - new["received"]) if new else 0
        return 100 * lost / new["expected"] if lost else 0.0


def _latency(found: list[float]) -> Snapshot:
    """Return the median of the latencies `found` by the clocks, unless the newest shows them to be apart."""
    if found and not is_plausible(found[-1]):
        return {"latency_ms": None, "clocks_apart_s": abs(found[-1]) / 1000}
    plausible = [ms for ms in found if is_plausible(ms)]
    return {"latency_ms": percentiles(plausible).p50 if plausible else None, "clocks_apart_s": 0.0}
