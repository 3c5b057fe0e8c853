"""A camera's noise taken out where nothing moves, so that a still face is still to the network.

Keypoints could be smoothed instead, but a filter that calms them makes lips late; where a part of the picture
moves, this leaves it as it came.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shared.keypoints import Floats, Pictures

MIN_SHARE = 0.04
"""Of what has long been still that is taken from the newest picture: noise shrinks to a seventh."""
STILL, MOVING = 1.35, 2.0
"""Change of a part in units of what noise alone makes, up to which it is still, and from which it moves."""
_CELL = 8
_GREY = np.full(3, 1 / 3, np.float32)
_QUIETEST = 0.25
"""Share of the picture that stands still, at the least; a talking head's background is more."""
_MIN_NOISE, _MAX_NOISE, _LEARNING = 0.5, 8.0, 0.1


class Denoiser:
    """Averages over time, cell by cell of 8x8 pixels; pictures come in order.

    A part that has just moved is worth little more than the newest picture of it, and one that has long been
    still is worth many: each takes as much from the newest as a Kalman filter would.
    """

    def __init__(self) -> None:
        self._kept: Floats | None = None
        self._variance = np.ones((1, 1), np.float32)
        """Of what is kept of each cell, in units of the variance of the noise."""
        self._noise = 0.0

    def renew(self) -> None:
        """Begin anew: the next picture is of another scene."""
        self._kept = None

    def apply(self, picture: Pictures) -> Pictures:
        """Return `picture` (S, S, 3), uint8 RGB, S a multiple of 8, with less noise; the first as it is."""
        new = picture.astype(np.float32)
        if self._kept is None or self._kept.shape != new.shape:
            self._kept = new
            self._variance = np.ones((len(new) // _CELL,) * 2, np.float32)
            return picture
        change = new - self._kept
        self._kept += self._shares(change) * change
        return self._kept.round().clip(0, 255).astype(np.uint8)

    def _shares(self, change: Floats) -> Floats:
        """Return how much of `change` (S, S, 3) is to be taken over, (S, S, 1)."""
        side = len(change) // _CELL
        # Of the three colours together, which is a third of the work.
        cells = (change @ _GREY).reshape(side, _CELL, side, _CELL)
        # Light that changes moves all pixels of a cell alike; noise does not.
        alike = cells.mean((1, 3), keepdims=True)
        # What is kept has noise of its own.
        expected = np.sqrt(1 + self._variance)
        apart = np.abs(cells - alike).mean((1, 3)) / expected
        noise = self._learned(float(np.quantile(apart, _QUIETEST)))
        moved = np.maximum(apart, np.abs(alike[:, 0, :, 0]) / expected) / noise
        moving = _spread(np.clip((moved - STILL) / (MOVING - STILL), 0, 1))
        still = np.maximum(self._variance / (1 + self._variance), MIN_SHARE)
        shares = still + (1 - still) * moving
        self._variance = (1 - shares) ** 2 * self._variance + shares**2
        return np.asarray(shares.repeat(_CELL, 0).repeat(_CELL, 1)[..., None], np.float32)

    def _learned(self, apart: float) -> float:
        """Take in how much the quietest part changed; return a picture's noise in mean absolute levels."""
        now = min(max(apart, _MIN_NOISE), _MAX_NOISE)
        self._noise = now if not self._noise else self._noise + _LEARNING * (now - self._noise)
        return self._noise


def _spread(cells: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the highest of each cell and its neighbours: what moves has an edge beside it."""
    padded = np.pad(cells, 1, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    return np.asarray(windows.max((2, 3)))
