"""Keypoints: K = 10 points, each a position in [-1, 1] and a 2x2 Jacobian: 60 float32 numbers a frame.

Flat order: all positions (x0, y0, x1, ...), then all Jacobians row-major. Batches are plain (T, 60) arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Pictures = npt.NDArray[np.uint8]

COUNT = 10
POSITIONS = 2 * COUNT
DIMENSIONS = 6 * COUNT


@dataclass(frozen=True)
class Keypoints:
    """One frame's keypoints: `value` (10, 2) in [-1, 1] and `jacobian` (10, 2, 2), float32."""

    value: Floats
    jacobian: Floats

    @classmethod
    def from_flat(cls, flat: Floats) -> Keypoints:
        """Split one flat vector (60,)."""
        return cls(flat[:POSITIONS].reshape(COUNT, 2), flat[POSITIONS:].reshape(COUNT, 2, 2))

    def flat(self) -> Floats:
        """Return the flat vector (60,)."""
        return np.concatenate([self.value.reshape(-1), self.jacobian.reshape(-1)]).astype(np.float32)


def relative(source: Floats, driving: Floats, initial: Floats, scale: float = 1.0) -> Floats:
    """Transfer the motion of `driving` (T, 60) since `initial` (60,) onto the points of `source` (60,).

    value = s + (d - d0) * scale and jacobian = d inv(d0) s, as the First Order Motion Model transfers motion
    (Siarohin et al., NeurIPS 2019, eq. 13 and the published `normalize_kp`). Returns (T, 60). A singular
    initial Jacobian is inverted in the least-squares sense, so the result stays finite.
    """
    frames = len(driving)
    value = source[:POSITIONS] + (driving[:, :POSITIONS] - initial[:POSITIONS]) * scale
    matrices = driving[:, POSITIONS:].reshape(frames, COUNT, 2, 2)
    inverse = np.linalg.pinv(initial[POSITIONS:].reshape(COUNT, 2, 2))
    jacobian = matrices @ inverse @ source[POSITIONS:].reshape(COUNT, 2, 2)
    return np.concatenate([value, jacobian.reshape(frames, -1)], axis=1).astype(np.float32)
