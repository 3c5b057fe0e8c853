"""Placement of the square that is sent within a camera's picture: found heads and times in, a square out.

The networks know heads as their training pictures showed them: the face in the middle, a bit over half as
large as the square. So the square is put around the head once, before the first picture leaves, and then
holds still: keypoints are movements against source pictures, and a square that moves looks like a head that
does. Only when the head has stayed out of place for a while does the square follow, so slowly that it is an
ordinary movement to the keypoints, which carry the head back to where the source pictures have it.

After a cut, and where a head comes in while there was none, nothing is carried anywhere: the square jumps,
and new source pictures are needed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from shared.media.heads import Head
from shared.media.squares import (
    SMALLEST_SIDE,
    WHOLE_SIDE,
    Square,
    around,
    centred,
    is_well_placed,
    main_head,
)

LOOK_S = 1 / 3
"""Seconds between two looks for heads."""
STEADY_S = 1.5
"""For so long the head must have been out of place."""
LOST_S = 3.0
"""After so long without the head that was followed, another one may be."""
AGREEING = 3
"""Looks in a row that have to see a head, where there was none, before the square jumps to it."""
SPEED = 0.5
"""The highest speed of the square, in its sides per second: that of a person who leans over.

The drawn portrait, which moved twice in a room, was received with a MAE of 0.0405 at 0.6, of 0.0429 at 0.25,
of 0.0504 at 0.1 and of 0.0424 where the square jumped, all at 1.8 to 1.9 kbps. One run each of the calls of
`bench framing`, with weights of the head finder from an earlier step; 0.5 itself was not among them.
"""
_MIN_MOVE_S = 0.7
# A head so far off is not in the square: there is nothing to be gentle with.
_MAX_MOVE_S = 3.0
_MIN_LOOKS = 4
# Smaller corrections are not worth a movement; in sides. At the border there may be no more than that.
_MIN_MOVE = 0.04
# One look to the next: how far a head goes at most, in its sizes, and how its size changes at most.
_REACH, _GROWTH = 1.2, 1.6


class Follower:
    """Follows one head through the looks, whoever else comes into the picture."""

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        self._seen: deque[tuple[float, Head]] = deque()

    def look(self, heads: Sequence[Head], now: float) -> None:
        """Take in the heads of one look at `now` (seconds)."""
        if self._seen and now - self._seen[-1][0] > LOST_S:
            self._seen.clear()
        found = self._same(heads) if self._seen else main_head(heads, self._width, self._height)
        if found is not None:
            self._seen.append((now, found))
        while len(self._seen) > 1 and self._seen[0][0] < now - STEADY_S - LOOK_S / 2:
            self._seen.popleft()

    def forget(self) -> None:
        """Follow nobody: whoever is seen next is."""
        self._seen.clear()

    def is_lost(self, now: float) -> bool:
        """Say whether there has been no head for so long that another one may be followed."""
        return not self._seen or now - self._seen[-1][0] > LOST_S

    def left(self, square: Square, now: float) -> Head | None:
        """Return the head's median place if it has been out of place in `square` for `STEADY_S`; else None.

        One look of these may differ: finders err.
        """
        if (
            not self._seen
            or now - self._seen[0][0] < STEADY_S - LOOK_S / 2
            or now - self._seen[-1][0] > LOOK_S
        ):
            return None
        placed = sum(is_well_placed(head, square) for _, head in self._seen)
        usual = self.usual()
        if len(self._seen) < _MIN_LOOKS or placed > 1 or usual is None or is_well_placed(usual, square):
            return None
        return usual

    @property
    def looks(self) -> int:
        """How many of the last looks saw the head that is followed."""
        return len(self._seen)

    def usual(self) -> Head | None:
        """Return the median place in the last looks; None before the first."""
        if not self._seen:
            return None
        heads = [head for _, head in self._seen]
        return Head(
            median(h.x for h in heads), median(h.y for h in heads), median(h.size for h in heads)
        )  # fmt: skip

    def _same(self, heads: Iterable[Head]) -> Head | None:
        """Return the head followed among `heads`: the nearest to where it was, if it can have come so far."""
        last = self._seen[-1][1]
        alike = [
            head for head in heads
            if math.dist((head.x, head.y), (last.x, last.y)) <= _REACH * last.size
            and 1 / _GROWTH <= head.size / last.size <= _GROWTH
        ]  # fmt: skip
        return min(alike, key=lambda head: math.dist((head.x, head.y), (last.x, last.y)), default=None)


class Framer:
    """Frames the pictures, `width` x `height`, of one camera. Times are seconds and never fall."""

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        short = min(width, height)
        self._least = short if short <= WHOLE_SIDE else min(SMALLEST_SIDE, short)
        self._follower = Follower(width, height)
        self._at = centred(width, height)
        self._move: _Move | None = None
        self._wanted_looks, self._begun = 0, False
        self.jumps = 0
        """How often the square has been put around another head at once."""

    @property
    def has_choice(self) -> bool:
        """Whether there is another square than the whole picture."""
        return self._width != self._height or self._least < self._width

    def begin(self, looks: Sequence[Sequence[Head]]) -> bool:
        """Choose the first square by the heads in the first pictures; False where most of them show none.

        A head that is well placed in the centre square leaves it at that.
        """
        follower = Follower(self._width, self._height)
        for heads in looks:
            follower.look(heads, 0.0)
        head = follower.usual()
        shown = sum(any(_near(one, head) for one in heads) for heads in looks) if head else 0
        if head is None or 2 * shown < len(looks):
            self._wanted_looks = AGREEING
            return False
        if not is_well_placed(head, self._at):
            self._at = around(head, self._width, self._height)
        return True

    def look(self, heads: Sequence[Head], now: float) -> None:
        """Take in the heads of a picture taken at `now`."""
        if self._follower.is_lost(now) and self._begun:
            self._wanted_looks = self._wanted_looks or AGREEING
        self._begun = True
        self._follower.look(heads, now)
        if self._wanted_looks and self._found(now):
            return
        if self._move is not None:
            return
        head = self._follower.left(self._at, now)
        if head is None:
            return
        wanted = around(head, self._width, self._height, self._at.size)
        if _distance(self._at, wanted) >= _MIN_MOVE:
            self._move = _Move(self._at, wanted, now)

    def cut(self) -> None:
        """Know that the next picture is of another scene: who is seen there is framed at once."""
        self._follower.forget()
        self._move, self._wanted_looks = None, 1

    def _found(self, now: float) -> bool:
        """Jump to the head that is there again, if enough looks agree; say whether they did."""
        head = self._follower.usual()
        if head is None or self._follower.looks < self._wanted_looks:
            # Not the picture after a cut itself: whoever comes in later has to be seen more than once.
            self._wanted_looks = AGREEING
            return False
        self._wanted_looks = 0
        if not is_well_placed(head, self.square(now)):
            self._at, self._move = around(head, self._width, self._height), None
            self.jumps += 1
        return True

    def square(self, now: float) -> Square:
        """Return the square of the picture taken at `now`, within the picture; on whole pixels at rest."""
        if self._move is None:
            return self._at
        if now >= self._move.end:
            self._at, self._move = self._move.target, None
            return self._at
        return self._move.at(now)


@dataclass(frozen=True)
class _Move:
    """A movement of the square that begins and ends gently: without a jerk, as a hand moves.

    The polynomial is Flash and Hogan's (1985) minimum-jerk path: 10 s^3 - 15 s^4 + 6 s^5.
    """

    source: Square
    target: Square
    start: float

    @property
    def end(self) -> float:
        # Its highest speed is 15/8 of the mean.
        usual = 15 / 8 * _distance(self.source, self.target) / SPEED
        return self.start + min(max(usual, _MIN_MOVE_S), _MAX_MOVE_S)

    def at(self, now: float) -> Square:
        s = min(max((now - self.start) / (self.end - self.start), 0.0), 1.0)
        share = s * s * s * (10 + s * (6 * s - 15))
        a, b = self.source, self.target
        return Square(
            a.x + share * (b.x - a.x), a.y + share * (b.y - a.y), a.size + share * (b.size - a.size)
        )  # fmt: skip


def _near(head: Head, other: Head) -> bool:
    return math.dist((head.x, head.y), (other.x, other.y)) <= other.size


def _distance(a: Square, b: Square) -> float:
    """Return how far apart two squares are, in sides of the smaller one: middles, or half the sides."""
    apart = math.dist((a.x + a.size / 2, a.y + a.size / 2), (b.x + b.size / 2, b.y + b.size / 2))
    return max(apart, abs(a.size - b.size) / 2) / min(a.size, b.size)
