"""Samples a running call periodically: for the status line, the file of figures, and others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from shared.clock import Clock
from shared.runtime.console import Part

STATUS_SECONDS = 0.5
JOURNAL_SECONDS = 1.0
Figures = Mapping[str, str | int | float | None]


class Sampler:
    """Calls `look` every `pace` seconds and hands what it returns on.

    `show` gets the figures twice per second, `record` once per second, and `tell` each time.
    """

    def __init__(
        self,
        clock: Clock,
        look: Callable[[], Figures],
        *,
        show: Callable[[Figures, float], None],
        record: Callable[[Figures], None],
        tell: Callable[[Figures], Awaitable[None]] | None = None,
        pace: float = STATUS_SECONDS,
    ) -> None:
        self._clock, self._look, self._pace = clock, look, pace
        self._show, self._record, self._tell = show, record, tell

    async def run(self) -> None:
        """Go on until cancelled."""
        shown = recorded = began = self._clock.now()
        turn = 0
        while True:
            # By absolute moments, or the seconds recorded would drift; those that were missed are left out.
            turn = max(turn + 1, int((self._clock.now() - began) / self._pace))
            await self._clock.sleep_until(began + turn * self._pace)
            now, figures = self._clock.now(), self._look()
            if now - shown >= STATUS_SECONDS - self._pace / 2:
                shown = now
                self._show(figures, now)
            if now - recorded >= JOURNAL_SECONDS - self._pace / 2:
                recorded = now
                self._record(figures)
            if self._tell is not None:
                await self._tell(figures)


def number(figures: Figures, name: str) -> float:
    """Return a figure as a number; 0 where it is not known."""
    return float(figures[name] or 0)


def sent_up(figures: Figures) -> Part:
    """Return what goes from the sender to the receiver, all of it and by kind, for a status line."""
    kinds = [f"keypoints {number(figures, 'payload_kbps'):.1f}"]
    kinds.append(f"pictures {number(figures, 'pictures_kbps'):.1f}")
    if number(figures, "audio_kbps"):
        kinds.append(f"sound {number(figures, 'audio_kbps'):.1f}")
    return f"up {number(figures, 'wire_up_kbps'):.1f} kbps ({', '.join(kinds)})", ""


def lost(figures: Figures) -> Part:
    """Return the loss, for a status line."""
    loss = number(figures, "loss_percent")
    return f"loss {loss:.0f} %", "yellow" if loss >= 1 else ""
