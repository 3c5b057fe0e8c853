"""The lite network's points, which are parts of a face, and where in a frame people look.

Right and left eye, nose, right and left corner of the mouth, lower lip, forehead, upper lip, torso, chin.
"""

from __future__ import annotations

import numpy as np

from models.lite.layout import COUNT, POSITIONS
from shared.keypoints import Floats

MIRROR = (1, 0, 2, 4, 3, 5, 6, 7, 8, 9)
"""The point that each becomes when the picture is mirrored."""
# As much more than the rest as in training; and how far around a part that reaches, in its own frame.
_MORE = 8.0
_EYES, _EYE_REACH = (0, 1), 0.13
_LIPS, _LIPS_REACH = (5, 7), 0.2


def looked_at(keypoints: Floats, size: int) -> Floats:
    """Return how much each pixel counts (size, size), 1 on average, in a frame with `keypoints` (60,).

    Eyes and mouth count up to nine times what the background does.
    """
    value = keypoints[:POSITIONS].reshape(COUNT, 2)
    jacobian = keypoints[POSITIONS:].reshape(COUNT, 2, 2)
    place = (np.arange(size, dtype=np.float32) * 2 + 1) / size - 1
    grid = np.stack(np.meshgrid(place, place), axis=-1)
    spots = np.zeros((size, size), np.float32)
    for points, reach in ((_EYES, _EYE_REACH), (_LIPS, _LIPS_REACH)):
        for point in points:
            # A closed eye is looked at as much as an open one: only the part's size counts, not its shape.
            scale = max(float(np.linalg.norm(jacobian[point][:, 0])), 0.1) * reach
            far = ((grid - value[point]) ** 2).sum(-1) / scale**2
            spots = np.maximum(spots, np.exp(-0.5 * far))
    counts = 1 + _MORE * spots
    return np.asarray(counts / counts.mean(), np.float32)
