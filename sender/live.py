"""Live figures of a call at the sender. `now` is given, no clock is read."""

from __future__ import annotations

from dataclasses import dataclass

from sender.camera import SLOW_FPS
from shared.runtime.console import Part, clock, spaced
from shared.runtime.rolling import Totals
from shared.runtime.sampler import Figures, lost, number, sent_up
from shared.runtime.stats import rates

RATE_SECONDS = 2.0
STATES = ("connecting", "live", "paused", "on hold", "stalled", "reconnecting")
"""paused: the camera gives no pictures. stalled: nothing comes from the receiver."""
_HUES = {"live": "green", "connecting": "cyan"}


@dataclass(frozen=True)
class Sent:
    """Totals of a call so far: bytes as in `receiver.live.Counts`, frames, messages.

    Of the messages, `held_back` would have been too many for the path, `dropped` could not leave at once.
    """

    payload: int
    pictures: int
    audio: int
    wire_up: int
    wire_down: int
    frames: int
    messages: int
    held_back: int
    dropped: int
    reconnects: int


class Live:
    """The rolling figures of one call; memory stays bounded."""

    def __init__(self) -> None:
        self._totals = Totals(RATE_SECONDS)
        self._began: float | None = None

    def snapshot(
        self,
        now: float,
        state: str,
        sent: Sent,
        loss: float,
        limit_kbps: float | None,
        *,
        camera_fps: float | None = None,
    ) -> dict[str, str | int | float | None]:
        """Return the figures at `now` (monotonic seconds), flat.

        `seconds` since the call was first live. Over the last 2 s: `payload_kbps`, `pictures_kbps`,
        `audio_kbps`, `wire_up_kbps` (to the receiver), `wire_down_kbps`, `overhead_kbps` (both of these less
        the other three). `loss_percent` of the messages, as the receiver reports it. `rate_limit_kbps`: all
        IP bytes that keypoint messages may take, None while there is no limit. `camera_fps`: pictures per
        second that a camera really gives, None for other sources and before that is known. Since the call
        began: `frames`, `messages`, `held_back`, `dropped`, `reconnects`.
        """
        if self._began is None and state == "live":
            self._began = now
        bytes_sent = {"payload", "pictures", "audio", "wire_up", "wire_down"}
        self._totals.add(now, {name: getattr(sent, name) for name in bytes_sent})
        return {
            "state": state,
            "seconds": 0.0 if self._began is None else now - self._began,
            **rates(*self._totals.over(RATE_SECONDS, now)),
            "loss_percent": 100 * loss,
            "rate_limit_kbps": limit_kbps,
            "camera_fps": camera_fps,
            "frames": sent.frames,
            "messages": sent.messages,
            "held_back": sent.held_back,
            "dropped": sent.dropped,
            "reconnects": sent.reconnects,
        }


def status(figures: Figures) -> list[Part]:
    """Return the figures of `Live.snapshot` as a status line."""
    state, *further = _of_sending(figures)
    parts = [
        state,
        (clock(number(figures, "seconds")), ""),
        sent_up(figures),
        (f"{figures['frames']} frames sent", ""),
        lost(figures),
        *further,
    ]
    return spaced(parts)


def in_short(figures: Figures) -> list[Part]:
    """Return the figures of `Live.snapshot` as the end of a status line that is of what is shown."""
    return spaced(_of_sending(figures))


def _of_sending(figures: Figures) -> list[Part]:
    """Return the state, and what keeps down what is sent."""
    state = str(figures["state"])
    parts = [(state, _HUES.get(state, "yellow"))]
    if figures["camera_fps"] is not None:
        pace = number(figures, "camera_fps")
        parts.append((f"camera {pace:.0f} fps", "yellow" if pace < SLOW_FPS else ""))
    if figures["rate_limit_kbps"] is not None:
        parts.append((f"limited to {number(figures, 'rate_limit_kbps'):.1f} kbps", "yellow"))
    return parts
