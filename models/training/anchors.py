"""What the marks of a face (eyes, nose, corners of the mouth) say about keypoints and about what counts."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from models.lite.geometry import pixel_grid

# How far from its anchor a keypoint may be, in distances of eyes and mouth: eyes, nose, mouth corners; then
# lower lip, crown, shoulders, neck, whose anchors are guesses.
_FREE = (0.08, 0.08, 0.1, 0.08, 0.08, 0.25, 0.5, 0.8, 0.8, 0.5)
_INSIDE = 0.93
_GRID = 64


def _middles(marks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the middle of the eyes (B, 2), of the mouth (B, 2), and their distance (B, 1)."""
    eyes, mouth = marks[:, :2].mean(1), marks[:, 3:].mean(1)
    return eyes, mouth, (mouth - eyes).norm(dim=1, keepdim=True).clamp(min=1e-2)


def anchor_points(marks: Tensor) -> Tensor:
    """Return where ten keypoints are expected (B, 10, 2), from marks (B, 5, 2)."""
    eyes, mouth, unit = _middles(marks)
    down = (mouth - eyes) / unit
    right = torch.stack([down[:, 1], -down[:, 0]], dim=1)
    others = [
        mouth + 0.3 * unit * down,
        eyes - 1.3 * unit * down,
        mouth + unit * (1.7 * down - 1.7 * right),
        mouth + unit * (1.7 * down + 1.7 * right),
        mouth + 1.4 * unit * down,
    ]
    return torch.cat([marks, torch.stack(others, dim=1).clamp(-_INSIDE, _INSIDE)], dim=1)


def anchor_loss(value: Tensor, marks: Tensor) -> Tensor:
    """Return how far keypoints (B, 10, 2) are outside of where they are free to be.

    Pictures with unknown marks (NaN) are left out.
    """
    known = torch.isfinite(marks).flatten(1).all(1)
    if not known.any():
        return value.sum() * 0
    marks, value = marks[known], value[known]
    free = _middles(marks)[2] * torch.tensor(_FREE, device=value.device)
    return F.relu((value - anchor_points(marks)).square().sum(2).add(1e-8).sqrt() - free).mean()


def separation_loss(value: Tensor, distance: float = 0.1) -> Tensor:
    """Return how much nearer to each other than `distance` keypoints (B, K, 2) are: 1 if all are one, else 0.

    Trained without it and without marks, all ten ended at the same place: they said no more than one does.
    """
    count = value.shape[1]
    apart = (value[:, :, None] - value[:, None]).square().sum(3).add(1e-8).sqrt()
    close = F.relu(1 - apart / distance) * (1 - torch.eye(count, device=value.device))
    return close.sum() / (len(value) * count * (count - 1))


def emphasis(marks: Tensor, size: int) -> Tensor:
    """Return (B, 1, size, size) in [0, 1] for marks (B, 5, 2): 1 at eyes and mouth, 0.3 on the face.

    It is 0 where the marks are unknown (NaN).
    """
    known = torch.isfinite(marks).flatten(1).all(1)
    marks = torch.nan_to_num(marks)
    _, mouth, unit = _middles(marks)
    grid = pixel_grid(_GRID, _GRID, marks)

    def spot(centre: Tensor, wide: float, high: float) -> Tensor:
        offset = (grid - centre[:, None, None]) / unit[:, None, None]
        return torch.exp(-0.5 * ((offset[..., 0] / wide).square() + (offset[..., 1] / high).square()))

    parts = [spot(mouth, 0.45, 0.3), spot(marks[:, 0], 0.28, 0.2), spot(marks[:, 1], 0.28, 0.2)]
    strength = torch.stack([0.3 * spot(marks.mean(1), 0.8, 0.9), *parts]).amax(0) * known[:, None, None]
    return F.interpolate(strength[:, None], (size, size), mode="bilinear", align_corners=False)
