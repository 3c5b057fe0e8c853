"""A drawn person's motion as in a call: turns, nods, blinks, looks aside and talks."""

from __future__ import annotations

import math

from shared.portrait.pose import Pose

ROUND_S = 6.0
"""The motion repeats without a seam after this long."""
# When the lids are shut, and how long before and after that they have come half way.
_BLINKS = ((1.0, 0.085), (2.7, 0.12), (3.1, 0.085), (5.5, 0.085))
_PHRASES = ((0.3, 1.3), (1.6, 2.9), (3.7, 5.3))
# Vowels that open the mouth wide.
_WIDE = (0.6, 2.2, 4.2, 4.9)
# Where the eyes look aside: from, to, how far right and down.
_GLANCES = ((1.3, 1.9, -0.85, 0.0), (3.2, 3.75, 0.8, -0.2), (5.35, 5.75, 0.2, 0.7))


def pose_at(seconds: float) -> Pose:
    """Return what the portrait does at a time; the same again after `ROUND_S`."""
    t = seconds % ROUND_S
    talking = max(_within(t, start, end) for start, end in _PHRASES)
    syllables = 0.34 + 0.30 * _wave(t, 25, 0.3) + 0.20 * _wave(t, 17, 1.4) + 0.08 * _wave(t, 7, 0)
    wide = max(math.exp(-(((t - at) / 0.11) ** 2)) for at in _WIDE)
    blink = max(math.exp(-(((t - at) / width) ** 4)) for at, width in _BLINKS)
    glances = [(_within(t, start, end, 0.07), right, down) for start, end, right, down in _GLANCES]
    return Pose(
        yaw=0.19 * _wave(t, 1, 0.2) + 0.05 * _wave(t, 3, 1.0),
        pitch=0.06 * _wave(t, 2, 0.5) + 0.03 * talking * _wave(t, 9, 2.0),
        roll=0.05 * _wave(t, 1, 1.3) + 0.02 * _wave(t, 4, 0),
        sway=(0.030 * _wave(t, 1, 0.5), 0.012 * _wave(t, 2, 0)),
        mouth=talking * min(max(syllables, 0.95 * wide, 0.0), 1.0),
        smile=0.35 * (1 - talking) + talking * (0.45 * _wave(t, 11, 0.9) * (1 - wide) + 0.15 * wide),
        blink=blink,
        brows=0.25 * _wave(t, 2, 2.2) + 0.5 * max(_wave(t, 1, 4.0), 0.0) * talking,
        gaze=(
            -0.25 * _wave(t, 1, 0.2) + sum(share * right for share, right, _ in glances),
            0.10 * _wave(t, 3, 0) + sum(share * down for share, _, down in glances),
        ),
    )


def _wave(t: float, turns: int, phase: float) -> float:
    """Return a sine that goes round a whole number of times, so that the motion has no seam."""
    return math.sin(2 * math.pi * turns * t / ROUND_S + phase)


def _within(t: float, start: float, end: float, soft: float = 0.15) -> float:
    """Return 1 between two times, 0 outside of them, with edges of `soft` seconds."""
    edge = min(t - start, end - t) / soft
    return min(max(edge, 0.0), 1.0)
