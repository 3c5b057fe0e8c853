"""When a rendered frame is shown, so that frames of all kinds follow each other at one pace."""

from __future__ import annotations

from collections import deque

_FRAMES = 60
_SHARE = 0.9
_STEP_SECONDS = 0.0005


class Pacing:
    """How long after it is due a frame is shown: as long as nine of ten of the last 60 took to be ready.

    Frames that are here early are rendered early, those that have to be forecast are not; shown as soon as
    they are ready, the picture would hasten and tarry with every block. What it changes by is half a
    millisecond a frame, which nobody sees, and it is never more than `most` seconds, at which it starts.
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self._late: deque[float] = deque(maxlen=_FRAMES)
        self.offset = most

    def ready(self, late: float) -> None:
        """Take note that a frame was ready `late` seconds after it was due, or before (negative)."""
        self._late.append(late)
        usual = sorted(self._late)[int(_SHARE * (len(self._late) - 1))]
        wanted = min(max(usual, 0.0), self._most)
        self.offset += min(max(wanted - self.offset, -_STEP_SECONDS), _STEP_SECONDS)
