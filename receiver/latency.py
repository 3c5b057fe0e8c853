"""Capture to sink, by two wall clocks: what can be true, and what only says that the clocks disagree."""

from __future__ import annotations

LONGEST_MS = 10_000
"""A frame that is shown waits for 2 s at most; messages that take over 8 s more are not seen in calls."""


def is_plausible(latency_ms: float) -> bool:
    """Say whether a frame may have taken so long; where not, the clocks of the two machines are apart."""
    return 0 <= latency_ms <= LONGEST_MS


def apart(seconds: float) -> str:
    """Return how far clocks are apart in words: "40 ms", "12 s", "3 min" or "2 h"."""
    for name, unit in (("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if seconds >= 1.5 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{1000 * seconds:.0f} ms"


def latency_text(latency_ms: float | None, apart_seconds: float) -> str:
    """Return a latency in ms for people, or a dash, and why there is none where the clocks are why."""
    if latency_ms is not None:
        return f"{latency_ms:.0f} ms"
    return f"- ms (clocks {apart(apart_seconds)} apart)" if apart_seconds else "- ms"
