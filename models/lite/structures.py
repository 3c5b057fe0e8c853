"""Structures passed between the parts of the lite network."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

from models.lite.layout import COUNT, POSITIONS

GRID = 64
"""Motion and rendering start on a grid of 64x64; the picture is four times as large."""


class Points(NamedTuple):
    """Keypoints of a batch: value (B, 10, 2), jacobian (B, 10, 2, 2)."""

    value: Tensor
    jacobian: Tensor

    @classmethod
    def from_flat(cls, flat: Tensor) -> Points:
        """Split (B, 60)."""
        return cls(flat[:, :POSITIONS].reshape(-1, COUNT, 2), flat[:, POSITIONS:].reshape(-1, COUNT, 2, 2))

    def flat(self) -> Tensor:
        """Join to (B, 60)."""
        return torch.cat([self.value.flatten(1), self.jacobian.flatten(1)], dim=1)


@dataclass(frozen=True)
class Source:
    """All that depends on the source picture alone: computed once, used for every frame."""

    picture: Tensor  # (B, 3, 256, 256)
    small: Tensor  # (B, 3, 64, 64)
    points: Tensor  # (B, 60)
    heat: Tensor  # (B, 10, 64, 64)
    fine: Tensor  # (B, C, 64, 64)
    coarse: Tensor  # (B, C, 32, 32)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of its parts, in the order of `tensors`."""
        return tuple(field.name for field in fields(cls))

    def tensors(self) -> tuple[Tensor, ...]:
        """Return its tensors, in the order of its fields."""
        # Written out: exporters that follow this cannot look into a class.
        return self.picture, self.small, self.points, self.heat, self.fine, self.coarse

    def repeat(self, times: int) -> Source:
        """Repeat each source (B) so many times in a row: (B times)."""
        return Source(*(tensor.repeat_interleave(times, 0) for tensor in self.tensors()))

    def expand(self, batch: int) -> Source:
        """Repeat a single source (B = 1) over a batch, without copying it."""
        return Source(*(tensor.expand(batch, *tensor.shape[1:]) for tensor in self.tensors()))


class Motion(NamedTuple):
    """The driving frame's motion from the source: flow, occlusion, and the generator's further inputs.

    flow (B, 64, 64, 2) says where each place of the frame lies in the source, occlusion (B, 1, 64, 64) in
    [0, 1] how much of it the source shows; heat (B, 10, 64, 64) draws the driving points, features
    (B, C, 32, 32) are the motion network's own.
    """

    flow: Tensor
    occlusion: Tensor
    heat: Tensor
    features: Tensor


class Rendered(NamedTuple):
    """A frame (B, 3, 256, 256) near [0, 1], and where its pixels come from.

    flow (B, 64, 64, 2) is the motion's, alpha (B, 1, 256, 256) in [0, 1] how much of the frame is the source
    picture, warped.
    """

    frame: Tensor
    flow: Tensor
    alpha: Tensor


class Window(NamedTuple):
    """The part of the 64x64 grid that training renders: top, left and size, multiples of 4."""

    top: int = 0
    left: int = 0
    size: int = GRID
