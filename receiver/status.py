"""A receiver's live figures as one line of text."""

from __future__ import annotations

from receiver.latency import latency_text
from shared.runtime.console import Part, clock, spaced
from shared.runtime.sampler import Figures, lost, number, sent_up

HUES = {"live": "green", "forecasting": "yellow", "on hold": "yellow", "stalled": "red"}
_STRIP = 30
_BLOCKS = {"o": ("▇", "green"), "i": ("▅", "cyan"), "f": ("▃", "yellow"), "h": ("▁", "red")}


def status(figures: Figures, blocks: bool) -> list[Part]:
    """Return `receiver.live` figures as a status line, with a strip of the newest frames' kinds if `blocks`.

    High blocks are observed frames, lower ones interpolated and forecast, the lowest are held.
    """
    state = str(figures["state"])
    if state == "listening":
        return [(state, "cyan")]
    parts = [
        (state, HUES.get(state, "cyan")),
        (clock(number(figures, "seconds")), ""),
        (f"{number(figures, 'fps_shown'):.1f} fps", ""),
        _latency(figures),
        sent_up(figures),
        lost(figures),
    ]
    kinds = strip(str(figures["strip"])[-_STRIP:]) if blocks else []
    return [*spaced(parts), ("  ", ""), *kinds] if kinds else spaced(parts)


def _latency(figures: Figures) -> Part:
    apart = number(figures, "clocks_apart_s")
    known = figures["latency_ms"] is not None
    return latency_text(number(figures, "latency_ms") if known else None, apart), "yellow" if apart else ""


def strip(kinds: str) -> list[Part]:
    """Return a block for each letter of `kinds`; same ones in a row are one part."""
    runs: list[Part] = []
    for letter in kinds:
        block, hue = _BLOCKS[letter]
        if runs and runs[-1][1] == hue:
            runs[-1] = (runs[-1][0] + block, hue)
        else:
            runs.append((block, hue))
    return runs
