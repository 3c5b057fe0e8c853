"""The demo source: the drawn portrait turns, nods, blinks and talks. It needs no camera and no file."""

from __future__ import annotations

import math
import threading

from sender.portrait import Portrait, Pose
from shared.config import FPS
from shared.keypoints import Pictures

SECONDS = 10.0
# The motion repeats without a seam after this long; the frames of one round are drawn once and kept.
ROUND_S = 6.0
_ROUND = int(ROUND_S * FPS)
_BLINKS = ((1.05, 0.075), (3.05, 0.085), (3.45, 0.07), (5.55, 0.075))
_PHRASES = ((0.35, 1.25), (1.55, 2.85), (3.7, 5.3))


class DemoSource:
    """Implements `sender.capture.VideoSource` for `seconds` of the portrait, or for ever (None).

    A frame takes about 10 ms to draw, so a thread draws the whole round ahead while a call is being set up.
    """

    live = False

    def __init__(self, seconds: float | None = SECONDS) -> None:
        self._count = None if seconds is None else max(1, round(seconds * FPS))
        self._portrait = Portrait()
        self._drawn: dict[int, Pictures] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._draw_ahead, name="demo", daemon=True)
        self._thread.start()

    def frame(self, n: int) -> Pictures | None:
        """Return the picture (256, 256, 3), uint8 RGB, of frame `n` >= 0; None past the end."""
        if self._closed.is_set() or (self._count is not None and n >= self._count):
            return None
        return self._draw(n % _ROUND)

    def close(self) -> None:
        """Stop drawing ahead."""
        self._closed.set()
        self._thread.join()

    def _draw(self, index: int) -> Pictures:
        picture = self._drawn.get(index)
        if picture is None:
            picture = self._portrait.draw(pose_at(index / FPS))
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
    syllables = 0.42 + 0.36 * _wave(t, 25, 0.3) + 0.24 * _wave(t, 17, 1.4) + 0.10 * _wave(t, 7, 0)
    blink = max(math.exp(-(((t - at) / width) ** 4)) for at, width in _BLINKS)
    return Pose(
        yaw=0.17 * _wave(t, 1, 0.2) + 0.05 * _wave(t, 3, 1.0),
        pitch=0.06 * _wave(t, 2, 0.5) + 0.03 * talking * _wave(t, 9, 2.0),
        roll=0.05 * _wave(t, 1, 1.3) + 0.02 * _wave(t, 4, 0),
        sway=(0.040 * _wave(t, 1, 0.5), 0.014 * _wave(t, 2, 0)),
        mouth=talking * min(max(syllables, 0.0), 1.0),
        smile=0.35 * (1 - talking) + talking * 0.55 * _wave(t, 11, 0.9),
        blink=blink,
        brows=0.25 * _wave(t, 2, 2.2) + 0.5 * max(_wave(t, 1, 4.0), 0.0) * talking,
        gaze=(-0.30 * _wave(t, 1, 0.2) + 0.15 * _wave(t, 2, 1.0), 0.12 * _wave(t, 3, 0)),
    )


def _wave(t: float, turns: int, phase: float) -> float:
    """Return a sine that goes round a whole number of times, so that the motion has no seam."""
    return math.sin(2 * math.pi * turns * t / ROUND_S + phase)


def _within(t: float, start: float, end: float) -> float:
    """Return 1 between two times, 0 outside of them, with soft edges of 0.15 s."""
    edge = min(t - start, end - t) / 0.15
    return min(max(edge, 0.0), 1.0)
