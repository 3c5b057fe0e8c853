"""Frames that have arrived and are not due yet."""

from __future__ import annotations

from collections.abc import Mapping

from shared.concealment import Ahead
from shared.keypoints import Floats
from shared.protocol.tally import Tally

CAPACITY = 150
"""Frames kept ahead of the one due: 5 s. A peer that sends further ahead, or as late, is not believed."""


class JitterBuffer:
    """Frames by number, whatever order they came in; bounded, and each frame is given out once.

    Those that are late, copied or refused are counted in `tally`.
    """

    def __init__(self, tally: Tally | None = None, capacity: int = CAPACITY) -> None:
        self.tally = tally or Tally()
        self._capacity = capacity
        self._frames: dict[int, Floats] = {}
        self._given: set[int] = set()
        self._next: int | None = None
        self._coarse: set[int] = set()

    def put(self, first: int, frames: Floats) -> None:
        """Store frames (T, D) numbered from `first`; those too far ahead or behind are refused."""
        for number, frame in enumerate(frames, first):
            if not self._is_near(number, first):
                self.tally.refused_frames += 1
            elif (number not in self._frames or number in self._coarse) and number not in self._given:
                self.tally.late_frames += self._next is not None and number < self._next
                self._frames[number] = frame
                self._coarse.discard(number)

    def put_copies(self, copies: Mapping[int, Floats]) -> None:
        """Store coarse copies (D,) by number where the frames themselves are missing, until they come."""
        for number, frame in copies.items():
            known = number in self._frames or number in self._given
            if not known and self._is_near(number, number):
                self._frames[number] = frame
                self._coarse.add(number)
                self.tally.copied_frames += 1

    def _is_near(self, number: int, first: int) -> bool:
        due = self._next if self._next is not None else min(self._frames, default=first)
        return abs(number - due) < self._capacity

    def __contains__(self, number: int) -> bool:
        """Say whether frame `number` itself is here, which a coarse copy of it is not."""
        return number in self._frames and number not in self._coarse

    def following(self, number: int) -> Ahead | None:
        """Return number and keypoints (D,) of the nearest frame after `number` that is here, or None."""
        nearest = min((n for n in self._frames if n > number), default=None)
        return None if nearest is None else (nearest, self._frames[nearest])

    def take(self, number: int) -> dict[int, Floats]:
        """Return and forget all frames up to `number`, those that came after their own moment included."""
        self._next = number + 1
        self._coarse = {n for n in self._coarse if n > number}
        taken = {n: self._frames.pop(n) for n in sorted(self._frames) if n <= number}
        self._given = {n for n in self._given | taken.keys() if n > number - self._capacity}
        return taken
