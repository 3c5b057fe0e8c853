"""Random thin-plate-spline warps of the plane: what a detector's points must follow, by how much, and how."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from models.fomm.blocks import coordinate_grid
from models.fomm.keypoint_detector import Points

SIGMA_AFFINE = 0.05
SIGMA_SPLINE = 0.005
CONTROL_POINTS = 5
# Keeps the logarithm of a distance of zero finite.
_NEAR = 1e-6


class ThinPlateWarp:
    """One random map T of the plane for each picture of a batch (Siarohin et al. 2019, section 3.3).

    T(z) = A z + b + sum_i w_i U(|z - c_i|_1) (1, 1), with U(r) = r^2 log r, over 5x5 control points c_i on
    [-1, 1]^2. A and b are the identity plus noise of standard deviation `affine`; w_i have `spline`. As in
    the published implementation, distances are L1 and both coordinates share the spline.
    """

    def __init__(
        self,
        batch: int,
        device: torch.device | str = "cpu",
        affine: float = SIGMA_AFFINE,
        spline: float = SIGMA_SPLINE,
    ) -> None:
        noise = affine * torch.randn(batch, 2, 3, device=device)
        self.matrix = torch.eye(2, device=device) + noise[..., :2]
        self.shift = noise[..., 2]
        self.weights = spline * torch.randn(batch, CONTROL_POINTS**2, device=device)
        self.centres = coordinate_grid(CONTROL_POINTS, CONTROL_POINTS, self.shift.device).reshape(-1, 2)

    def warp(self, pictures: Tensor) -> Tensor:
        """Return the pictures Y (B, C, H, W) with Y(z) = X(T(z)), reflected at the border; float32."""
        height, width = pictures.shape[2:]
        grid = coordinate_grid(height, width, self.shift.device).reshape(1, -1, 2)
        places = self.carry(grid.expand(len(self.shift), -1, -1)).reshape(-1, height, width, 2)
        return F.grid_sample(pictures.float(), places, padding_mode="reflection", align_corners=True)

    def carry(self, places: Tensor) -> Tensor:
        """Return T of `places` (B, N, 2)."""
        distance = self._offsets(places).abs().sum(-1)
        spline = torch.einsum("bnc,bc->bn", distance.square() * (distance + _NEAR).log(), self.weights)
        return torch.einsum("bij,bnj->bni", self.matrix, places) + self.shift[:, None] + spline[..., None]

    def jacobian(self, places: Tensor) -> Tensor:
        """Return the derivative of T at `places` (B, N, 2) as (B, N, 2, 2)."""
        offsets = self._offsets(places)
        distance = offsets.abs().sum(-1)
        slope = 2 * distance * (distance + _NEAR).log() + distance.square() / (distance + _NEAR)
        gradient = torch.einsum("bnc,bncj,bc->bnj", slope, offsets.sign(), self.weights)
        return self.matrix[:, None] + gradient.unsqueeze(-2)

    def points(self, found: Points) -> Points:
        """Carry points that were found in Y back to X."""
        return Points(self.carry(found.value), self.jacobian(found.value) @ found.jacobian)

    def _offsets(self, places: Tensor) -> Tensor:
        return places.unsqueeze(2) - self.centres
