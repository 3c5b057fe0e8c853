"""A face of landmarks, drawn by hand: where its lids, lips and irises are is known exactly."""

from __future__ import annotations

import numpy as np

from models.landmarks import points as landmarks
from shared.keypoints import Floats

_IRIS = 0.03 * np.array([[0, 0], [1, 0], [0, -1], [-1, 0], [0, 1]])


def face(lips: float = 0.0, lids: float = 0.3, gaze: float = 0.5) -> Floats:
    """Return landmarks (175, 2) of a symmetric face: openings as `landmarks.openings` counts them.

    Both eyes are 0.2 wide and lie at (-0.2, -0.2) and (0.2, -0.2). What is neither lid, iris nor lip lies
    anywhere in the face, symmetrically.
    """
    anywhere = np.random.default_rng(0).uniform((-0.4, -0.55), (0.4, 0.55), (landmarks.COUNT, 2))
    at = np.asarray(landmarks.mirrored(anywhere) + anywhere) / 2
    at[landmarks.rows(10, 152, 1)] = [[0, -0.6], [0, 0.6], [0, 0.1]]
    for side, eye, iris, upper, lower in (
        (-1, landmarks.RIGHT_EYE, landmarks.RIGHT_IRIS, (159, 158, 160), (145, 153, 144)),
        (1, landmarks.LEFT_EYE, landmarks.LEFT_IRIS, (386, 385, 387), (374, 380, 373)),
    ):
        at[eye] = _ellipse(len(eye), (0.2 * side, -0.2), (0.1 * side, 0.1 * lids))
        at[landmarks.rows(*upper), 1] = -0.2 - 0.1 * lids
        at[landmarks.rows(*lower), 1] = -0.2 + 0.1 * lids
        at[iris] = np.add(_IRIS, (0.2 * side + 0.2 * gaze - 0.1, -0.2))
    for edge, width, height in ((landmarks.OUTER_LIPS, 0.15, 0.08), (landmarks.INNER_LIPS, 0.12, 0.0)):
        at[edge] = _ellipse(len(edge), (0, 0.35), (-width, height + 0.6 * lips))
    return at.astype(np.float32)


def _ellipse(count: int, middle: tuple[float, float], radius: tuple[float, float]) -> Floats:
    """Return points (count, 2) around `middle`: from its side at radius x on, by way of radius y."""
    angle = 2 * np.pi * np.arange(count)[:, None] / count
    return np.asarray(np.hstack([np.cos(angle), np.sin(angle)]) * radius + middle)
