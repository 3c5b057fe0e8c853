"""The demo sources: a drawn person turns, nods, blinks and talks. They need no camera and no file."""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import cached_property

import numpy as np

from sender.drawn_round import DrawnRound, keep, kept_at
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
_ROUND = int(ROUND_S * FPS)


def begins_at(name: str) -> float:
    """Return where in the round, in seconds, the person of `DEMOS` begins."""
    return 0.0 if name == DEMOS[0] else _SECOND_BEHIND_S


class DemoSource:
    """Implements `sender.capture.VideoSource` for `seconds` of a person of `DEMOS`, or for ever (None).

    Its pictures are `side` pixels large. A frame takes some 20 ms to draw, so a thread draws the whole round
    ahead while a call is being set up, and keeps it in the user's cache. Larger ones take 40 to 65: there are
    half as many per second.
    """

    live = False

    def __init__(self, seconds: float | None = SECONDS, name: str = DEMOS[0], side: int = SIZE) -> None:
        self._count = None if seconds is None else max(1, round(seconds * FPS))
        self._name, self._side, self._step = name, side, 1 if side <= SIZE else 2
        self._drawn: dict[int, Pictures] = {}
        self._drawing = threading.Lock()
        self._file = kept_at(name, side)
        self._kept = self._opened()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._draw_ahead, name="demo", daemon=True)
        self._thread.start()

    def frame(self, n: int) -> Pictures | None:
        """Return the picture (side, side, 3), uint8 RGB, of frame `n` >= 0; None past the end."""
        if self._closed.is_set() or (self._count is not None and n >= self._count):
            return None
        index = n % _ROUND
        return self._picture(index - index % self._step)

    @property
    def scene(self) -> int:
        """See `VideoSource`: there is one."""
        return 0

    def wait(self) -> None:
        """Return when all that is drawn ahead has been drawn."""
        self._thread.join()

    def close(self) -> None:
        """Stop drawing ahead."""
        self._closed.set()
        self._thread.join()

    def _opened(self) -> DrawnRound | None:
        try:
            return None if self._file is None else DrawnRound(self._file, _ROUND // self._step, self._side)
        except OSError:
            return None

    @cached_property
    def _portrait(self) -> Portrait:
        looks = Looks() if self._name == DEMOS[0] else Looks.random(np.random.default_rng(_SECOND_SEED))
        return Portrait(looks, size=self._side)

    def _picture(self, index: int) -> Pictures:
        kept = self._kept
        if kept is not None:
            # One that was lost on the way is drawn again.
            with suppress(OSError):
                return kept.picture(index // self._step)
        with self._drawing:
            picture = self._drawn.get(index)
            if picture is None:
                picture = self._portrait.draw(pose_at(begins_at(self._name) + index / FPS))
                picture.setflags(write=False)
                self._drawn[index] = picture
            return picture

    def _draw_ahead(self) -> None:
        if self._kept is not None:
            return
        last = _ROUND if self._count is None else min(_ROUND, self._count)
        for index in range(0, last, self._step):
            if self._closed.is_set():
                return
            self._picture(index)
        if last == _ROUND and self._file is not None:
            keep(self._file, (self._drawn[index] for index in range(0, last, self._step)))
            self._kept = self._opened()
            if self._kept is not None:
                self._drawn.clear()
