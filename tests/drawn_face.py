"""A face of landmarks, drawn by hand: where its lids, lips and irises are is known exactly."""

from __future__ import annotations

import numpy as np

from models.landmarks import points as landmarks
from shared.keypoints import Floats


def face(lips: float = 0.0, lids: float = 0.3, gaze: float = 0.5) -> Floats:
    """Return landmarks (175, 2) of a symmetric face: openings as `landmarks.openings` counts them."""
    at = np.zeros((landmarks.COUNT, 2))
    at[landmarks.rows(10, 152, 1)] = [[0, -0.6], [0, 0.6], [0, 0.1]]
    for corners, upper, lower, middle in (
        ((33, 133), (159, 158, 160), (145, 153, 144), -0.2),
        ((362, 263), (386, 385, 387), (374, 380, 373), 0.2),
    ):
        eye = landmarks.RIGHT_EYE if middle < 0 else landmarks.LEFT_EYE
        iris = landmarks.RIGHT_IRIS if middle < 0 else landmarks.LEFT_IRIS
        at[eye] = [middle, -0.2]
        at[landmarks.rows(*corners)] = [[middle - 0.1, -0.2], [middle + 0.1, -0.2]]
        at[landmarks.rows(*upper)] = [middle, -0.2 - 0.1 * lids]
        at[landmarks.rows(*lower)] = [middle, -0.2 + 0.1 * lids]
        at[iris] = [middle - 0.1 + 0.2 * gaze, -0.2]
    at[landmarks.LIPS] = [0, 0.35]
    at[landmarks.rows(61, 291)] = [[-0.15, 0.35], [0.15, 0.35]]
    at[landmarks.rows(13, 14)] = [[0, 0.35 - 0.6 * lips], [0, 0.35 + 0.6 * lips]]
    return at.astype(np.float32)
