"""The demo sources: a drawn person turns, nods, blinks and talks. They need no camera and no file."""

from __future__ import annotations

import math
import threading

import numpy as np

from shared.constants import FPS
from shared.keypoints import Pictures
from shared.portrait.looks import Looks
from shared.portrait.portrait import Portrait
from shared.portrait.pose import Pose

DEMOS = ("demo", "demo2")
"""Names of the people. The second one mostly speaks while the first listens."""
_SECOND_SEED, _SECOND_BEHIND_S = 1, 2.4
SECONDS = 10.0
# The motion repeats without a seam after this long; the frames of one round are drawn once and kept.
ROUND_S = 6.0
_ROUND = int(ROUND_S * FPS)
# When the lids are shut, and how long before and after that they have come half way.
_BLINKS = ((1.0, 0.085), (2.7, 0.12), (3.1, 0.085), (5.5, 0.085))
_PHRASES = ((0.3, 1.3), (1.6, 2.9), (3.7, 5.3))
# Vowels that open the mouth wide.
_WIDE = (0.6, 2.2, 4.2, 4.9)
# Where the eyes look aside: from, to, how far right and down.
_GLANCES = ((1.3, 1.9, -0.85, 0.0), (3.2, 3.75, 0.8, -0.2), (5.35, 5.75, 0.2, 0.7))


def begins_at(name: str) -> float:
    """Return where in the round, in seconds, the person of `DEMOS` begins."""
    return 0.0 if name == DEMOS[0] else _SECOND_BEHIND_S


class DemoSource:
    """Implements `sender.capture.VideoSource` for `seconds` of a person of `DEMOS`, or for ever (None).

    A frame takes some 20 ms to draw, so a thread draws the whole round ahead while a call is being set up.
    """

    live = False

    def __init__(self, seconds: float | None = SECONDS, name: str = DEMOS[0]) -> None:
        self._count = None if seconds is None else max(1, round(seconds * FPS))
        looks = Looks() if name == DEMOS[0] else Looks.random(np.random.default_rng(_SECOND_SEED))
        self._portrait, self._begins = Portrait(looks), begins_at(name)
        self._drawn: dict[int, Pictures] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._draw_ahead, name="demo", daemon=True)
        self._thread.start()

    def frame(self, n: int) -> Pictures | None:
        """Return the picture (256, 256, 3), uint8 RGB, of frame `n` >= 0; None past the end."""
        if self._closed.is_set() or (self._count is not None and n >= self._count):
            return None
        return self._draw(n % _ROUND)

    @property
    def scene(self) -> int:
        """See `VideoSource`: there is one."""
        return 0

    def close(self) -> None:
        """Stop drawing ahead."""
        self._closed.set()
        self._thread.join()

    def _draw(self, index: int) -> Pictures:
        picture = self._drawn.get(index)
        if picture is None:
            picture = self._portrait.draw(pose_at(self._begins + index / FPS))
            picture.setflags(write=False)
            self._drawn[index] = picture
        return picture

    def _draw_ahead(self) -> None:
        last = _ROUND if self._count is None else min(_ROUND, self._count)
        for index in range(last):
            if self._closed.is_set():
                return
            self._draw(index)


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
