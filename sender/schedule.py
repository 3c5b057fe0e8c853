"""Frame scheduling: which frames ship, and which of them share a message."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from shared.codec.keypoint_codec import COPY_STRIDE, MAX_BACK, MAX_COPIES, Copy
from shared.concealment import Concealer
from shared.constants import FPS, Schedule
from shared.keypoints import Floats


@dataclass(frozen=True, eq=False)
class Batch:
    """Consecutive frames (T, D) for one message, from number `first`, captured `late_ms` after its place."""

    first: int
    late_ms: int
    frames: Floats


class Scheduler(Protocol):
    """Decides what ships. Numbers ascend from call to call."""

    per_message: int
    """How many frames a message gathers at most: so many less one the first of them waits for."""

    @property
    def waiting(self) -> int | None:
        """The oldest frame that is gathered and may leave earlier (`early`); None where there is none."""
        ...

    def early(self) -> list[Batch]:
        """Return what is gathered so far, for something that leaves anyway and takes it along."""
        ...

    def wants(self, number: int) -> bool:
        """Say whether frame `number` has to be looked at, so captured and detected."""
        ...

    def add(self, number: int, late_ms: int, frame: Floats) -> list[Batch]:
        """Take frame `number` (D,), captured `late_ms` after its place; return the messages that are due."""
        ...

    def shipped(self, batch: Batch, received: Floats) -> None:
        """Learn that `batch` has left, and what the receiver makes of its frames (T, D)."""
        ...

    def flush(self) -> list[Batch]:
        """Return what is gathered and would still have shipped: no frame comes any more."""
        ...


class Alternate:
    """Ships `observe` frames, skips `skip`, gathering up to `per_message` frames in a message.

    A message leaves when it is full and at the end of each block, so that no frame waits through a skipped
    block; a frame that does not follow the one before it (the machine was too slow) starts a new message.
    """

    def __init__(self, schedule: Schedule, per_message: int) -> None:
        self._schedule = schedule
        self.per_message = per_message
        self._first = 0
        self._late_ms = 0
        self._frames: list[Floats] = []

    def wants(self, number: int) -> bool:
        """Say whether the schedule ships frame `number`; what does not ship is not looked at."""
        return self._schedule.ships(number)

    def add(self, number: int, late_ms: int, frame: Floats) -> list[Batch]:
        """Take a frame that ships; see `Scheduler.add`."""
        ready = self.flush() if self._frames and number != self._first + len(self._frames) else []
        if not self._frames:
            self._first, self._late_ms = number, late_ms
        self._frames.append(frame)
        if len(self._frames) >= self.per_message or not self._schedule.ships(number + 1):
            ready += self.flush()
        return ready

    @property
    def waiting(self) -> int | None:
        """The first frame that is gathered."""
        return self._first if self._frames else None

    def early(self) -> list[Batch]:
        """Return what is gathered, as `flush`: the next frame begins another message."""
        return self.flush()

    def shipped(self, batch: Batch, received: Floats) -> None:
        """Do nothing: the schedule is the same whatever arrives."""

    def flush(self) -> list[Batch]:
        """Return what is gathered, however little."""
        if not self._frames:
            return []
        batch = Batch(self._first, self._late_ms, np.stack(self._frames))
        self._frames = []
        return [batch]


@dataclass(frozen=True, eq=False)
class _Pending:
    number: int
    late_ms: int
    frame: Floats


class Adaptive:
    """Dead reckoning: ships when the receiver's forecast has drifted from the truth.

    The last `per_message` frames wait. The oldest of them is compared with what the receiver will show in its
    place, by the same filling that the receiver does; where the picture would be off by more than `threshold`
    all that wait leave in one message, and none comes too late, since a receiver waits for as long as a
    message takes to gather. Else it is left to the forecast. At least one frame per second ships.

    The picture's error is sqrt(e^T H e), `sensitivity` H (D, D) being that of the codec's tables: the root
    of the mean squared difference of pixels in [0, 1].
    """

    def __init__(
        self,
        mirror: Concealer,
        sensitivity: npt.NDArray[np.float32],
        threshold: float,
        per_message: int,
        longest: int = FPS,
    ) -> None:
        self._mirror = mirror
        self._sensitivity = sensitivity.astype(np.float64)
        self._threshold = threshold
        self.per_message = per_message
        self._longest = longest
        self._pending: deque[_Pending] = deque()
        self._last_shipped: int | None = None

    @property
    def waiting(self) -> None:
        """No frame may leave earlier: whether it ships shows only when it has waited."""
        return

    def early(self) -> list[Batch]:
        """Return nothing; see `waiting`."""
        return []

    def wants(self, number: int) -> bool:  # noqa: ARG002 - the interface's
        """Say yes: whether a frame is needed shows only when it has been seen."""
        return True

    def add(self, number: int, late_ms: int, frame: Floats) -> list[Batch]:
        """Take a frame; see `Scheduler.add`. A batch that was not `shipped` is offered again, newer."""
        if self._pending and number != self._pending[-1].number + 1:
            self._forget(len(self._pending))
        self._forget(len(self._pending) + 1 - self.per_message)
        self._pending.append(_Pending(number, late_ms, frame))
        if len(self._pending) < self.per_message or not self._due(self._pending[0], number):
            return []
        return self._batch()

    def shipped(self, batch: Batch, received: Floats) -> None:
        """Learn what the receiver has now; see `Scheduler.shipped`."""
        self._mirror.observe({batch.first + index: frame for index, frame in enumerate(received)})
        self._last_shipped = batch.first + len(batch.frames) - 1
        self._forget(len(self._pending))

    def flush(self) -> list[Batch]:
        """Return the frames that wait where the first of them would have shipped, or later ones drift."""
        return self._batch() if any(self._drifted(waiting) for waiting in self._pending) else []

    def _batch(self) -> list[Batch]:
        first = self._pending[0]
        return [Batch(first.number, first.late_ms, np.stack([waiting.frame for waiting in self._pending]))]

    def _due(self, oldest: _Pending, newest: int) -> bool:
        return (
            self._last_shipped is None
            or newest - self._last_shipped >= self._longest
            or self._drifted(oldest)
        )

    def _drifted(self, waiting: _Pending) -> bool:
        shown = self._mirror.expected(waiting.number)
        return shown is None or self._error(shown - waiting.frame) > self._threshold

    def _error(self, difference: Floats) -> float:
        off = difference.astype(np.float64)
        return math.sqrt(max(float(off @ self._sensitivity @ off), 0.0))

    def _forget(self, count: int) -> None:
        """Let the oldest `count` frames go: the receiver shows what it makes of their moments."""
        for _ in range(count):
            self._mirror.fill(self._pending.popleft().number)


class Redundancy:
    """Coarse copies of the `blocks` messages before, for the next one to carry."""

    def __init__(self, blocks: int) -> None:
        self._batches: deque[Batch] = deque(maxlen=blocks)

    def sent(self, batch: Batch) -> None:
        """Take note that `batch` has been sent, whether it arrives or not."""
        self._batches.append(batch)

    def copies(self, first: int) -> Sequence[Copy]:
        """Return the copies that a message from frame `first` on carries, the latest first."""
        found: list[Copy] = []
        for batch in reversed(self._batches):
            # From the end of the block: that is where a forecast would start.
            wanted = {*range(len(batch.frames) - 1, -1, -COPY_STRIDE), 0}
            for index in sorted(wanted, reverse=True):
                back = first - batch.first - index
                if 1 <= back <= MAX_BACK:
                    found.append(Copy(back, batch.frames[index]))
        return found[:MAX_COPIES]
