"""The canonical face that parts are measured against: the middle of many faces that look straight ahead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from models.landmarks.points import LEFT_EYE, MIRROR, NOSE_TIP, RIGHT_EYE, Points
from shared.keypoints import Floats

_FRONTAL = 0.12
"""Largest distance of a frontal face's nose tip from the middle between its eyes, in eye distances."""


def canonical(faces: Sequence[Points]) -> Floats:
    """Return the median (175, 3) of `faces` (175, 3), levelled and made mirror-symmetric.

    Its origin lies between the eyes; its unit is that of a picture in which it has the faces' median size.
    """
    levelled, sizes = _levelled(np.stack(faces))
    middle = np.median(levelled, 0)
    symmetric = (middle + middle[MIRROR] * [-1, 1, 1]) / 2
    mesh: Floats = (symmetric * np.median(sizes)).astype(np.float32)
    return mesh


def frontal(points: Points) -> npt.NDArray[np.int64]:
    """Return which of the faces (T, 175, 2) look straight ahead; those without a face (NaN) do not."""
    levelled, _ = _levelled(points)
    with np.errstate(invalid="ignore"):
        return np.flatnonzero(np.abs(levelled[:, NOSE_TIP, 0]) < _FRONTAL)


def _levelled(points: Points) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return faces (T, 175, 2 or 3) with level eyes one unit apart around the origin, and sizes (T,)."""
    at: npt.NDArray[Any] = np.array(points, np.float64)
    right, left = (at[:, eye, :2].mean(1) for eye in (RIGHT_EYE, LEFT_EYE))
    across = left - right
    sizes = np.linalg.norm(across, axis=1)
    cos, sin = (across / np.maximum(sizes, 1e-9)[:, None]).T
    at[..., :2] -= ((right + left) / 2)[:, None]
    x, y = at[..., 0].copy(), at[..., 1].copy()
    at[..., 0] = cos[:, None] * x + sin[:, None] * y
    at[..., 1] = cos[:, None] * y - sin[:, None] * x
    return at / np.maximum(sizes, 1e-9)[:, None, None], sizes
