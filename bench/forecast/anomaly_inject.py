"""Faults put into keypoint tracks of real clips, to see whether they are found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from models.forecast.likelihood import Doubles
from shared import keypoints as numbers
from shared.keypoints import Floats, KeypointLayout

Kind = Literal["jump", "freeze", "swap"]
KINDS: tuple[Kind, ...] = get_args(Kind)
# A jump moves all points together by this much of the picture's half width, 13 pixels, and they stay there.
JUMP = 0.1
# Frames that a freeze or a swapped segment lasts; faults keep this far from a clip's ends.
LASTING = 20
MARGIN = 10


@dataclass(frozen=True)
class Fault:
    """A track (T, D) with one fault, and the frames in which it is to be seen: `first` to `last`."""

    kind: Kind
    keypoints: Floats
    first: int
    last: int


def inject(kind: Kind, keypoints: Floats, layout: KeypointLayout, seed: int) -> Fault | None:
    """Return a copy of `keypoints` (T, D) with one fault at a random place; None where they are too short.

    jump: from one frame on all is moved, as by a knock against the camera; to be seen in that frame.
    freeze: 20 frames show the same; to be seen in all but the first of them, and as they end.
    swap: 20 frames are those of another time of the clip; to be seen in the first, and in the one after.
    """
    rng = np.random.default_rng(seed)
    if len(keypoints) < 2 * (MARGIN + LASTING):
        return None
    first = int(rng.integers(MARGIN, len(keypoints) - MARGIN - LASTING))
    end = first + LASTING
    changed = keypoints.copy()
    if kind == "jump":
        angle = rng.uniform(0, 2 * np.pi)
        move = JUMP * np.array([np.cos(angle), np.sin(angle)])
        for group, part in layout.parts():
            if group.kind is numbers.Kind.POINTS:
                changed[first:, part] += np.tile(move, group.count).astype(np.float32)
        return Fault(kind, changed, first, first)
    if kind == "freeze":
        changed[first:end] = keypoints[first]
        return Fault(kind, changed, first + 1, end)
    away = [start for start in range(len(keypoints) - LASTING) if abs(start - first) >= LASTING]
    start = int(rng.choice(away)) if away else 0
    changed[first:end] = keypoints[start : start + LASTING]
    return Fault(kind, changed, first, end)


def seen(fault: Fault) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which frames (T,) show `fault`: of a swap the two cuts alone, else all from first to last."""
    shown = np.zeros(len(fault.keypoints), np.bool_)
    if fault.kind == "swap":
        shown[[fault.first, fault.last]] = True
    else:
        shown[fault.first : fault.last + 1] = True
    return shown


def change(keypoints: Floats, step: Floats) -> Doubles:
    """Return how much each frame of `keypoints` (T, D) differs from the last, in usual changes `step` (D,).

    The root of the mean square, (T,), 0 first: what one would look at without a forecaster.
    """
    moved = np.diff(keypoints, axis=0, prepend=keypoints[:1]) / step
    return np.asarray(np.sqrt(np.square(moved).mean(axis=1)), np.float64)
