"""Definition of the lite network's ten points by landmarks of a face.

Right and left eye (the irises' centres), tip of the nose, right and left corner of the mouth, lower lip,
forehead, upper lip, torso, chin: the order of `models.lite.detector`. A point's Jacobian is the least-squares
linear map that carries its part's landmarks from the canonical face to where they are: that of an eye says
how far its lids are open, that of the lower lip how it is bent. The torso has no landmarks and is learned
with the rendering.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from models.landmarks import points as mesh
from models.lite.detector import TORSO
from models.lite.layout import COUNT
from models.lite.structures import Points
from models.rows import picked
from shared.keypoints import Floats

# The landmarks whose mean a point is, and those that its Jacobian follows.
_PARTS = {
    0: (mesh.rows(468), mesh.RIGHT_EYE),
    1: (mesh.rows(473), mesh.LEFT_EYE),
    2: (mesh.rows(1), mesh.NOSE),
    3: (mesh.rows(61), mesh.RIGHT_CORNER),
    4: (mesh.rows(291), mesh.LEFT_CORNER),
    5: (mesh.rows(14, 17, 87, 317, 84, 314), mesh.LOWER_LIP),
    6: (mesh.rows(10), mesh.BROW),
    7: (mesh.rows(0, 13, 37, 267, 82, 312), mesh.UPPER_LIP),
    9: (mesh.rows(152), mesh.JAW),
}
LABELLED = tuple(_PARTS)
# Both eyes, which count twice, are the first ones.
_EYES = (0, 1)
# Outside of this a point's own place is hidden, and its landmarks are guesses.
_INSIDE = 0.98
_LARGEST = 1.4
_FARTHEST = 2.0


class FaceCode(nn.Module):
    """Turns landmarks into the points that stand for them, and measures how far detected points are off.

    `canonical` (175, 3) is the face that Jacobians are measured against (see `models.landmarks`).
    """

    means: Tensor
    fits: Tensor

    def __init__(self, canonical: Floats) -> None:
        super().__init__()
        means = np.zeros((len(_PARTS), mesh.COUNT), np.float32)
        fits = np.zeros((len(_PARTS), 2, mesh.COUNT), np.float32)
        for index, (centre, part) in enumerate(_PARTS.values()):
            means[index, centre] = 1 / len(centre)
            around = canonical[part, :2] - canonical[part, :2].mean(0)
            # Rows sum to zero: where the part lies does not matter.
            fits[index][:, part] = np.linalg.pinv(around)
        self.register_buffer("means", torch.from_numpy(means), persistent=False)
        self.register_buffer("fits", torch.from_numpy(fits), persistent=False)

    def points(self, landmarks: Tensor) -> Points:
        """Return the labelled points of landmarks (B, 175, 2): value (B, 9, 2), jacobian (B, 9, 2, 2)."""
        with torch.autocast(landmarks.device.type, enabled=False):
            value = torch.einsum("kn,bnc->bkc", self.means, landmarks)
            return Points(value, torch.einsum("kdn,bnc->bkcd", self.fits, landmarks))

    def losses(self, found: Points, landmarks: Tensor) -> tuple[Tensor, Tensor]:
        """Return how far `found` (B, 10) is from landmarks (B, 175, 2): L1 of values and of Jacobians.

        Both eyes count twice. Faces that are unknown (NaN) or mostly outside of the picture are left out.
        """
        known = torch.isfinite(landmarks).flatten(1).all(1)
        landmarks = torch.nan_to_num(landmarks)
        known &= landmarks.abs().flatten(1).amax(1) < _LARGEST
        wanted = self.points(landmarks)
        counts = 1.0 + (torch.arange(len(LABELLED), device=landmarks.device) < len(_EYES))
        seen = (wanted.value.abs().amax(-1) < _INSIDE) & known[:, None]
        of_value = (picked(found.value, LABELLED) - wanted.value).abs().mean(-1) * seen * counts
        off = (picked(found.jacobian, LABELLED) - wanted.jacobian).abs().clamp(max=_FARTHEST).mean((-1, -2))
        size = len(landmarks) * counts.sum()
        return of_value.sum() / size, (off * known[:, None] * counts).sum() / size


assert set(LABELLED) | {TORSO} == set(range(COUNT))
