"""Independently moving parts of a face: the ten points, with each eye split into lids and iris.

An eye's point is its iris, and its Jacobian says how its lids are open: one affine motion for both would take
the lids along when somebody looks aside. Where lids are follows from their iris and the rest of the face.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from models.lite.config import LiteConfig
from models.lite.detector import CANONICAL, LEFT_EYE, TORSO
from models.lite.layout import COUNT
from models.lite.structures import Points

PARTS = COUNT + 2
"""Lids of both eyes, the other eight points, both irises."""
_EYES = LEFT_EYE + 1
_REST = tuple(point for point in range(_EYES, COUNT) if point != TORSO)
_INPUTS = 6 * (len(_REST) + _EYES)
# How much of what an eye's lids do their part does. A shut eye's own map is flat: its inverse carries nothing
# anywhere, and drawn, it is thinner than a place of the grid.
_LIDS = 0.65
_TINY = 1e-6


class Parts(nn.Module):
    """Returns the parts (B, 12) of points (B, 10): value and Jacobian of each."""

    def __init__(self, config: LiteConfig) -> None:
        super().__init__()
        self.iris = config.iris
        self.lids = nn.Linear(_INPUTS, 2 * _EYES)
        nn.init.zeros_(self.lids.weight)
        with torch.no_grad():
            # Where they are in the typical face.
            self.lids.bias.copy_(_typical(torch.device("cpu"))[1].flatten())

    def forward(self, points: Points) -> Points:
        """Return parts: lids around their own middle, never quite shut, irises as large as the face is."""
        value, jacobian = points
        face = torch.cat([value[:, :TORSO], value[:, TORSO + 1 :]], dim=1)
        middle = face[:, _EYES:].mean(1, keepdim=True)
        along, across = _similarity(face[:, _EYES:] - middle)
        back = _Turned(along, -across, 1 / (along * along + across * across).clamp(min=_TINY))
        shapes = torch.cat([jacobian[:, :TORSO], jacobian[:, TORSO + 1 :]], dim=1).transpose(-1, -2)
        seen = torch.cat([back(face - middle).flatten(1), back(shapes).flatten(1)], dim=1)
        with torch.autocast(value.device.type, enabled=False):
            found = self.lids(seen.float()).reshape(-1, _EYES, 2)
        lids = _Turned(along, across)(found) + middle
        frame = torch.stack([along, -across, across, along], dim=-1).reshape(-1, 1, 2, 2)
        irises = (self.iris * frame).expand(-1, _EYES, -1, -1)
        shut = _LIDS * jacobian[:, :_EYES] + (1 - _LIDS) * frame
        return Points(
            torch.cat([lids, value[:, _EYES:], value[:, :_EYES]], dim=1),
            torch.cat([shut, jacobian[:, _EYES:], irises], dim=1),
        )


def further_aside(parts: Points, source: Points, times: float) -> Points:
    """Return parts (B, 12) whose irises are `times` as far aside from where they are in `source`.

    Along the eye alone: up and down, lids and irises go together.
    What counts is how they stand to their lids, in the frame of their face: lids and heads move as they did.
    """
    along = parts.jacobian[:, -_EYES:, :, 0]
    more = (times - 1) * (_aside(parts) - _aside(source)) * along
    return Points(torch.cat([parts.value[:, :-_EYES], parts.value[:, -_EYES:] + more], dim=1), parts.jacobian)


def _aside(parts: Points) -> Tensor:
    """Return how far along the eye irises are from their lids' middle, in irises: (B, 2, 1)."""
    along = parts.jacobian[:, -_EYES:, :, 0]
    offset = parts.value[:, -_EYES:] - parts.value[:, :_EYES]
    return (offset * along).sum(-1, keepdim=True) / along.square().sum(-1, keepdim=True).clamp(min=_TINY)


class _Turned:
    """Turns and scales vectors (B, ..., 2) by (along, across) (B,), and by `scale`."""

    def __init__(self, along: Tensor, across: Tensor, scale: Tensor | float = 1.0) -> None:
        self.along, self.across = along * scale, across * scale

    def __call__(self, vectors: Tensor) -> Tensor:
        shape = (-1, *[1] * (vectors.dim() - 2))
        along, across = self.along.reshape(shape), self.across.reshape(shape)
        x, y = vectors[..., 0], vectors[..., 1]
        return torch.stack([along * x - across * y, across * x + along * y], dim=-1)


@cache
def _typical(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return where the rest of a typical face lies (7, 2), and its eyes (2, 2), from the rest's middle.

    Always the same tensors: a CUDA graph takes no numbers from Python. (False has no name, for exporters that
    follow this take none.)
    """
    with torch.inference_mode(False):
        rest = torch.tensor([CANONICAL[point] for point in _REST], device=device)
        eyes = torch.tensor([CANONICAL[point] for point in range(_EYES)], device=device)
        return rest - rest.mean(0), eyes - rest.mean(0)


def _similarity(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return the similarity that carries the typical face to points (B, 7, 2), around their middle.

    As along and across (B,): x is carried to (along, across). Least squares, as `detector.face_frame`.
    """
    typical = _typical(points.device)[0].to(points.dtype)
    norm = 1 / typical.square().sum()
    along = (points * typical).sum((1, 2)) * norm
    turned = torch.stack([-typical[:, 1], typical[:, 0]], dim=-1)
    return along, (points * turned).sum((1, 2)) * norm
