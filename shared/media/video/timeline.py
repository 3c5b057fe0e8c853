"""Times of frames, or of pieces of sound, as a player takes them: stated ones as far as they make sense."""

from __future__ import annotations

BACK_S = 0.3
"""Further back than this is no reordering: the clock began anew, as where two recordings were joined."""
AHEAD_S = 10.0
"""Where clocks may jump, a gap longer than this is a jump. Elsewhere it is a picture that stood so long."""


def has_jumped(time: float, last: float, end: float, jumps: bool) -> bool:
    """Say whether a clock that was at `last`, for what lasted to `end`, cannot be at `time` but by a jump."""
    return time < last - BACK_S or (jumps and time > end + AHEAD_S)


class Timeline:
    """Places what follows each other, in seconds after the first.

    `step` is how long one lasts that does not say. `jumps`: the format knows clocks that jump, such as a
    broadcast's transport stream.
    """

    def __init__(self, step: float, jumps: bool = False) -> None:
        self._step, self._jumps = step, jumps
        self._zero: float | None = None
        self._last = 0.0
        self.end = 0.0
        """Where the last one ends."""

    def place(self, time: float | None, length: float = 0.0) -> float:
        """Return where the next one stands, which states `time` and lasts for `length`; 0: it does not say.

        One without a time follows the one before; a time that runs back a little stands still.
        """
        if time is None:
            seconds = self.end
        else:
            if self._zero is None:
                self._zero = time - self.end
            seconds = time - self._zero
            if has_jumped(seconds, self._last, self.end, self._jumps):
                self._zero, seconds = time - self.end, self.end
        self._last = max(seconds, self._last)
        self.end = self._last + (length if length > 0 else self._step)
        return self._last
