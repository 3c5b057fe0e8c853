"""Choice of the source picture a frame is rendered from: the nearest one, without flicker. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.keypoints import Distance, Floats

CLEARLY = 0.75
"""Another picture is taken only when its distance is below this share of the one's in use."""
DWELL_FRAMES = 8
FADE_FRAMES = 3


@dataclass(frozen=True)
class Choice:
    """Render from `slot`; where there is a `before`, `share` of it, in (0, 1), and the rest from `before`."""

    slot: int
    before: int | None = None
    share: float = 1.0


class Gallery:
    """Holds the keypoints of the pictures by slot, and chooses for one frame after the other.

    A picture stays in use for at least `DWELL_FRAMES`, and the next one is faded in over `FADE_FRAMES`.
    """

    def __init__(self, metric: Distance, clearly: float = CLEARLY) -> None:
        self._metric = metric
        self._clearly = clearly
        self._members: dict[int, Floats] = {}
        self._slot: int | None = None
        self._before: int | None = None
        self._since = 0
        self.switches = 0

    def put(self, slot: int, keypoints: Floats) -> None:
        """Note the keypoints (D,) of the picture that `slot` holds now."""
        self._members[slot] = keypoints
        # What was faded out may be what was just replaced.
        self._before = None

    def clear(self) -> None:
        """Forget all pictures: what comes is of another scene."""
        self._members.clear()
        self._slot = self._before = None

    def choose(self, keypoints: Floats) -> Choice:
        """Return what to render the next frame (D,) from. ValueError while there is no picture."""
        nearest = self._nearest(keypoints)
        self._since += 1
        if self._slot is None:
            self._slot = nearest
        elif nearest != self._slot and self._since >= DWELL_FRAMES:
            self._before, self._slot, self._since = self._slot, nearest, 0
            self.switches += 1
        share = (self._since + 1) / (FADE_FRAMES + 1)
        if self._before is None or share >= 1:
            return Choice(self._slot)
        return Choice(self._slot, self._before, share)

    def _nearest(self, keypoints: Floats) -> int:
        """Return the slot of the nearest picture; that in use unless another is clearly nearer."""
        if not self._members:
            raise ValueError("there is no picture yet")
        slots = list(self._members)
        # A peer's keypoints may be so large that their squares are not.
        with np.errstate(over="ignore", invalid="ignore"):
            far = np.nan_to_num(self._metric(np.stack(list(self._members.values())), keypoints), posinf=1e30)
        best = int(np.argmin(far))
        if self._slot is None or far[best] < self._clearly * far[slots.index(self._slot)]:
            return slots[best]
        return self._slot
