"""A source picture's parts as plain tensors by name, whatever they are: how they pass between engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, get_type_hints

from torch import Tensor

from models.lite.network import Points, Source

# Found out here, since exporters that follow the functions below cannot look into a class.
SOURCE_NAMES: tuple[str, ...] = tuple(field.name for field in fields(Source))
_IS_POINTS: tuple[bool, ...] = tuple(get_type_hints(Source)[name] is Points for name in SOURCE_NAMES)


def to_tensors(source: Source) -> tuple[Tensor, ...]:
    """Return the parts of `source` in the order of `SOURCE_NAMES`; keypoints as (B, 60)."""
    parts = [getattr(source, name) for name in SOURCE_NAMES]
    return tuple(
        part.flat() if is_points else part for part, is_points in zip(parts, _IS_POINTS, strict=True)
    )


def from_tensors(tensors: Sequence[Tensor]) -> Source:
    """Undo `to_tensors`."""
    parts: list[Any] = [
        Points.from_flat(tensor) if is_points else tensor
        for tensor, is_points in zip(tensors, _IS_POINTS, strict=True)
    ]
    return Source(*parts)


def repeated(source: Source, batch: int) -> Source:
    """Repeat a single source (B = 1) over a batch, without copying its pictures and features."""
    return from_tensors([tensor.expand(batch, *tensor.shape[1:]) for tensor in to_tensors(source)])
