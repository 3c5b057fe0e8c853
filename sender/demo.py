"""The demo sources: a drawn person turns, nods, blinks and talks. They need no camera and no file."""

from __future__ import annotations

import threading

import numpy as np

from shared.constants import FPS, SIZE
from shared.keypoints import Pictures
from shared.portrait.looks import Looks
from shared.portrait.portrait import Portrait
from shared.portrait.talking import ROUND_S, pose_at

__all__ = ["ROUND_S", "SECONDS", "DemoSource", "pose_at"]

DEMOS = ("demo", "demo2")
"""Names of the people. The second one mostly speaks while the first listens."""
_SECOND_SEED, _SECOND_BEHIND_S = 1, 2.4
SECONDS = 10.0
# The frames of one round are drawn once and kept.
_ROUND = int(ROUND_S * FPS)


def begins_at(name: str) -> float:
    """Return where in the round, in seconds, the person of `DEMOS` begins."""
    return 0.0 if name == DEMOS[0] else _SECOND_BEHIND_S


class DemoSource:
    """Implements `sender.capture.VideoSource` for `seconds` of a person of `DEMOS`, or for ever (None).

    Its pictures are `side` pixels large. A frame takes some 20 ms to draw, so a thread draws the whole round
    ahead while a call is being set up. Larger ones take 40 to 65: there are half as many per second.
    """

    live = False

    def __init__(self, seconds: float | None = SECONDS, name: str = DEMOS[0], side: int = SIZE) -> None:
        self._count = None if seconds is None else max(1, round(seconds * FPS))
        looks = Looks() if name == DEMOS[0] else Looks.random(np.random.default_rng(_SECOND_SEED))
        self._portrait, self._step = Portrait(looks, size=side), 1 if side <= SIZE else 2
        self._begins = begins_at(name)
        self._drawn: dict[int, Pictures] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._draw_ahead, name="demo", daemon=True)
        self._thread.start()

    def frame(self, n: int) -> Pictures | None:
        """Return the picture (side, side, 3), uint8 RGB, of frame `n` >= 0; None past the end."""
        if self._closed.is_set() or (self._count is not None and n >= self._count):
            return None
        index = n % _ROUND
        return self._draw(index - index % self._step)

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
        for index in range(0, last, self._step):
            if self._closed.is_set():
                return
            self._draw(index)
