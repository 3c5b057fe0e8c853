"""Which frames ship, and which of them share a message."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.config import Schedule
from shared.keypoints import Floats


@dataclass(frozen=True, eq=False)
class Batch:
    """Consecutive frames (T, 60) for one message, from frame number `first`, captured at `timestamp_ms`."""

    first: int
    timestamp_ms: int
    frames: Floats


class Batcher:
    """Gathers shipped frames into messages of up to `per_message` frames.

    A message leaves when it is full and at the end of each block, so that no frame waits through a skipped
    block; a frame that does not follow the one before it (the machine was too slow) starts a new message.
    """

    def __init__(self, schedule: Schedule, per_message: int) -> None:
        self._schedule = schedule
        self._per_message = per_message
        self._first = 0
        self._timestamp_ms = 0
        self._frames: list[Floats] = []

    def add(self, number: int, timestamp_ms: int, frame: Floats) -> list[Batch]:
        """Take frame `number` (60,), captured at `timestamp_ms`; return the messages that are ready."""
        ready = self.flush() if self._frames and number != self._first + len(self._frames) else []
        if not self._frames:
            self._first, self._timestamp_ms = number, timestamp_ms
        self._frames.append(frame)
        if len(self._frames) >= self._per_message or not self._schedule.ships(number + 1):
            ready += self.flush()
        return ready

    def flush(self) -> list[Batch]:
        """Return what is gathered, however little."""
        if not self._frames:
            return []
        batch = Batch(self._first, self._timestamp_ms, np.stack(self._frames))
        self._frames = []
        return [batch]
