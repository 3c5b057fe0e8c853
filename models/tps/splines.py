"""Thin-plate splines: the smoothest maps of the plane that carry some points onto others (Bookstein 1989)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# Added to the whole diagonal of the equations, as published: the spline does not quite interpolate.
RIDGE = 0.01


class Splines(NamedTuple):
    """T(z) = A [z, 1] + sum_i w_i U(|z - c_i|) for each of B x K splines, with N control points each.

    `centres` c (B, K, N, 2), `weights` w (B, K, N, 2), `affine` A (B, K, 2, 3); float32.
    """

    centres: Tensor
    weights: Tensor
    affine: Tensor

    @classmethod
    def fit(cls, centres: Tensor, targets: Tensor) -> Splines:
        """Return the splines that carry `centres` (B, K, N, 2) near `targets` (1 or B rows).

        They solve (L + 0.01 I) [w; A'] = [targets; 0], L = [[U(|c_i - c_j|), C], [C', 0]], C rows (x, y, 1).
        In float64, because points that nearly coincide make equations that are nearly singular.
        """
        points = centres.double()
        count = points.shape[-2]
        rows = torch.cat([points, torch.ones_like(points[..., :1])], dim=-1)
        upper = torch.cat([_bend(points, points), rows], dim=-1)
        lower = torch.cat([rows.mT, rows.new_zeros(*rows.shape[:2], 3, 3)], dim=-1)
        equations = torch.cat([upper, lower], dim=-2)
        equations = equations + RIDGE * torch.eye(count + 3, dtype=points.dtype, device=points.device)
        wanted = targets.double().expand_as(points)
        wanted = torch.cat([wanted, wanted.new_zeros(*wanted.shape[:2], 3, 2)], dim=-2)
        solution = _solved(equations, wanted).float()
        return cls(centres.float(), solution[..., :count, :], solution[..., count:, :].mT)

    def __call__(self, places: Tensor) -> Tensor:
        """Return where each spline carries `places` (N, 2): (B, K, N, 2)."""
        straight = places @ self.affine[..., :2].mT + self.affine[..., None, :, 2]
        return straight + _bend(places, self.centres) @ self.weights


def _solved(equations: Tensor, wanted: Tensor) -> Tensor:
    """Return x of `equations` (..., N, N) x = `wanted` (..., N, M), by elimination with the largest pivots.

    Of plain operations, unlike those of `torch.linalg`: a GPU neither waits nor asks a library, so that a
    pass can be recorded, and exporters know them. Where there is no solution, it is not finite.
    """
    rows = torch.cat([equations, wanted], dim=-1)
    places = torch.arange(equations.shape[-1], device=rows.device)
    for step in range(equations.shape[-1]):
        pivot = rows[..., step:, step].abs().argmax(dim=-1, keepdim=True) + step
        order = torch.where(places == step, pivot, torch.where(places == pivot, step, places))
        rows = rows.gather(-2, order.unsqueeze(-1).expand_as(rows))
        chosen = rows[..., step : step + 1, :] / rows[..., step : step + 1, step : step + 1]
        others = rows - rows[..., step : step + 1] * chosen
        rows = torch.where((places == step).unsqueeze(-1), chosen, others)
    return rows[..., equations.shape[-1] :]


def _bend(places: Tensor, centres: Tensor) -> Tensor:
    """Return U(|z - c|), U(r) = r^2 log r^2, of z (..., N, 2) and c (..., M, 2): (..., N, M).

    As published, it is r^2 log(r^2 + 1e-9), which is never more than 1e-9 away.
    """
    squared = (places.unsqueeze(-2) - centres.unsqueeze(-3)).square().sum(dim=-1)
    return torch.xlogy(squared, squared)
