"""Cuts: where a picture is of another scene than the one before it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shared.keypoints import Pictures

CUT = 45.0
"""Mean difference of grey levels: two rooms differ by about 60, a person who jumps up by 25."""
BLANK, SEEN = 6.0, 20.0
"""Spread of grey levels up to which a scene shows nothing, as one that fades in, and from which it does."""
_STILL = 4.0
_ACROSS, _DOWN = 48, 27
_Grid = npt.NDArray[np.float32]


class Cuts:
    """Sees them one picture after the other, by a few hundred pixels of each."""

    def __init__(self) -> None:
        self._last: _Grid | None = None
        self._began_blank = False

    def is_cut(self, picture: Pictures) -> bool:
        """Say whether `picture` (H, W, 3), uint8 RGB, of any size, begins a scene; the first one does not.

        One that was faded in from nothing begins where it stands.
        """
        grid = _grid(picture)
        last, self._last = self._last, grid
        if last is None:
            self._began_blank = grid.std() <= BLANK
            return False
        change = float(np.abs(grid - last).mean())
        came_up = self._began_blank and grid.std() >= SEEN and change < _STILL
        if change < CUT and not came_up:
            return False
        self._began_blank = grid.std() <= BLANK
        return True


def _grid(picture: Pictures) -> _Grid:
    height, width = picture.shape[:2]
    rows, columns = (
        (np.arange(count) * length + length // 2) // count
        for count, length in ((_DOWN, height), (_ACROSS, width))
    )
    return np.asarray(picture[rows[:, None], columns].mean(2), np.float32)
