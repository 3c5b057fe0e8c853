"""Landmark losses of a rendering: what counts in it, and where its motion has to point."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.landmarks import points as mesh
from models.lite.detector import MOUTH, Detector
from models.lite.geometry import pixel_grid
from models.lite.network import GRID, Points
from models.rows import picked

# How much a landmark's motion counts.
_ON_LIPS, _ON_LIDS, _ON_IRIS = 4.0, 4.0, 24.0
# Parts that count most, and how much wider than their landmarks the soft ellipse around them is.
_SPOTS = ((mesh.OUTER_LIPS, 1.35), (mesh.RIGHT_EYE, 1.8), (mesh.LEFT_EYE, 1.8))
_FACE_SHARE = 0.25
_SMALLEST = 0.03
# How alike source and driving picture are, in levels of [0, 1], where nothing moves.
_ALIKE = 0.02


def emphasis(landmarks: Tensor, size: int) -> Tensor:
    """Return (B, 1, size, size) in [0, 1] for landmarks (B, 175, 2): 1 at eyes and mouth, 0.25 on the face.

    It is 0 where there is no face (NaN).
    """
    known = torch.isfinite(landmarks).flatten(1).all(1)
    landmarks = torch.nan_to_num(landmarks)
    grid = pixel_grid(GRID, GRID, landmarks)
    spots = [_ellipse(picked(landmarks, rows), pad, grid, 0.45).mul(1.5).square() for rows, pad in _SPOTS]
    parts = [torch.exp(-0.5 * spot) for spot in spots]
    face = _ellipse(landmarks, 1.0, grid, 0.0)
    strength = torch.stack([_FACE_SHARE * torch.exp(-0.5 * face.square()), *parts]).amax(0)
    strength = strength * known[:, None, None]
    return F.interpolate(strength[:, None], (size, size), mode="bilinear", align_corners=False)


def _ellipse(part: Tensor, pad: float, grid: Tensor, least_height: float) -> Tensor:
    """Return the squared distance from a part's middle, 1 at `pad` times its half width and height."""
    low, high = part.amin(1), part.amax(1)
    radius = ((high - low) * (0.5 * pad)).clamp(min=_SMALLEST)
    height = torch.maximum(radius[:, 1], least_height * radius[:, 0])
    offset = grid - ((low + high) / 2)[:, None, None]
    x, y = offset[..., 0] / radius[:, 0, None, None], offset[..., 1] / height[:, None, None]
    return x.square() + y.square()


@cache
def landmark_weights(device: torch.device) -> Tensor:
    """Return how much each landmark's motion counts (175,), always the same tensor."""
    weights = np.ones(mesh.COUNT, np.float32)
    weights[mesh.LIPS] = _ON_LIPS
    weights[mesh.EYES] = _ON_LIDS
    weights[mesh.RIGHT_IRIS], weights[mesh.LEFT_IRIS] = _ON_IRIS, _ON_IRIS
    with torch.inference_mode(mode=False):
        return torch.from_numpy(weights).to(device)


def flow_loss(flow: Tensor, landmarks: Tensor) -> Tensor:
    """Return how far a flow (B, H, W, 2) is from pointing from each driving landmark to the source's.

    `landmarks` (B, 2, 175, 2) are those of source and driving; pairs with an unknown face are left out.
    """
    known = torch.isfinite(landmarks).flatten(1).all(1)
    landmarks = torch.nan_to_num(landmarks)
    at = landmarks[:, 1]
    counts = (at.abs().amax(-1) < 1) * known[:, None] * landmark_weights(at.device)
    planes = flow.permute(0, 3, 1, 2)
    got = F.grid_sample(planes, at[:, :, None], align_corners=False, padding_mode="border")[..., 0]
    off = (got.transpose(1, 2) - landmarks[:, 0]).abs().sum(-1)
    return (off * counts).sum() / counts.sum().clamp(min=1)


def lids_loss(parts: Points, landmarks: Tensor) -> Tensor:
    """Return how far the lids of `parts` (B) are from landmarks (B, 175, 2), in x and y, on average.

    Unknown faces are left out.
    """
    known = torch.isfinite(landmarks).flatten(1).all(1)
    landmarks = torch.nan_to_num(landmarks)
    eyes = [picked(landmarks, rows).mean(1) for rows in (mesh.RIGHT_EYE, mesh.LEFT_EYE)]
    off = (parts.value[:, : len(eyes)] - torch.stack(eyes, dim=1)).abs().mean((1, 2))
    return (off * known).sum() / known.sum().clamp(min=1)


def still_loss(flow: Tensor, source: Tensor, driving: Tensor, landmarks: Tensor) -> Tensor:
    """Return how far a flow (B, H, W, 2) moves what does not move: straight lines next to a moving head.

    `source` and `driving` (B, 3, H, W) are small pictures, `landmarks` (B, 175, 2) of driving. What looks the
    same there, away from the face, should stay where it is.
    """
    difference = (source - driving).abs().mean(1, keepdim=True)
    difference = F.max_pool2d(difference, 5, 1, 2)
    face = emphasis(landmarks, flow.shape[1])[:, 0] > 0.02
    known = torch.isfinite(landmarks).flatten(1).all(1)[:, None, None]
    still = torch.exp(-(difference[:, 0] / _ALIKE).square()) * ~face * known
    moved = (flow - pixel_grid(flow.shape[1], flow.shape[2], flow)).abs().sum(-1)
    return (still * moved).mean()


def closed_loop(detector: Detector, frame: Tensor, driving: Points) -> Tensor:
    """Return how far eyes and mouth of `frame` (B, 3, 256, 256) are from the driving points, as detected.

    Only the patches are looked at, where the driving points are. These have no gradient from it, nor has a
    `detector` at rest: what moves is the frame.
    """
    points = Points(driving.value.detach(), driving.jacobian.detach())
    found = detector.refine(frame, points)
    rows = [0, 1, *MOUTH]
    value = picked(found.value - points.value, rows).abs().mean()
    shape = picked(found.jacobian - points.jacobian, rows).abs().clamp(max=1).mean()
    return 4 * value + shape
