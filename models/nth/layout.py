"""The talking head's keypoints: 51 numbers a frame for 15 keypoints in space.

Where these are when a head looks ahead is found in the source picture alone. A frame gives what is added to
that: a displacement of each keypoint, one of all, and how the head is turned: yaw, pitch, roll in degrees.
"""

from __future__ import annotations

import numpy as np

from shared.keypoints import Floats, Group, KeypointLayout

# A degree moves what lies half a half width from the axis by about 0.01 half widths.
_DEGREE = 0.01
# How far a forecast may turn a head.
_TURN = 40.0


def layout_of(keypoints: int) -> KeypointLayout:
    """Return the layout of 3 `keypoints` + 6 numbers."""
    return KeypointLayout((
        Group.numbers(keypoints, 3),
        Group.numbers(1, 3),
        Group.numbers(1, 3, weight=_DEGREE**2, reach=_TURN, step=0.5),
    ))  # fmt: skip


def turned(keypoints: Floats, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> Floats:
    """Return `keypoints` (T, D) with the heads turned by so many degrees more."""
    more = np.zeros(keypoints.shape[1], np.float32)
    more[-3:] = yaw, pitch, roll
    return keypoints + more
