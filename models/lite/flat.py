"""A source picture's parts as plain tensors by name, whatever they are: how they pass between engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from typing import Any, get_type_hints

from torch import Tensor

from models.lite.network import Points, Source


@cache
def source_names() -> tuple[str, ...]:
    """Return the names of the parts of a `Source`, in the order of `to_tensors`."""
    return tuple(field.name for field in fields(Source))


@cache
def _kinds() -> tuple[type, ...]:
    kinds = get_type_hints(Source)
    return tuple(kinds[name] for name in source_names())


def to_tensors(source: Source) -> tuple[Tensor, ...]:
    """Return the parts of `source`; keypoints as (B, 60)."""
    return tuple(_tensor(name, getattr(source, name)) for name in source_names())


def _tensor(name: str, part: object) -> Tensor:
    if isinstance(part, Points):
        return part.flat()
    if not isinstance(part, Tensor):
        raise TypeError(f"A source consists of tensors and keypoints; {name} is neither.")
    return part


def from_tensors(tensors: Sequence[Tensor]) -> Source:
    """Undo `to_tensors`."""
    parts: list[Any] = [
        Points.from_flat(tensor) if kind is Points else tensor
        for kind, tensor in zip(_kinds(), tensors, strict=True)
    ]
    return Source(*parts)


def repeated(source: Source, batch: int) -> Source:
    """Repeat a single source (B = 1) over a batch, without copying its pictures and features."""
    return from_tensors([tensor.expand(batch, *tensor.shape[1:]) for tensor in to_tensors(source)])
