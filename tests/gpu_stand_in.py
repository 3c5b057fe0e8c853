"""Stands in for a GPU: torch's "meta" device computes nothing, but says where a GPU would be waited for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

_WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "is_nonzero", "equal")


@contextmanager
def waits(device: str = "meta") -> Iterator[list[str]]:
    """Collect what makes the host wait for a GPU: numbers that are read off it, or uploaded to it.

    An upload of pageable memory waits, and a list or an array as an index is one. `device` is the type that
    plays the GPU; a single number that is no part of a tensor travels with the kernel. Autocast, which knows
    no "meta", does there as on a CPU.
    """
    seen: list[str] = []
    usual = torch.autocast

    def autocast(where: str, *arguments: Any, **options: Any) -> Any:
        return usual("cpu" if where == "meta" else where, *arguments, **options)

    with _Calls(seen), _Operations(seen, device), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "autocast", autocast)
        yield seen


class _Operations(TorchDispatchMode):  # type: ignore[misc]
    """Notes operations that wait."""

    def __init__(self, seen: list[str], device: str) -> None:
        super().__init__()
        self.seen, self.device = seen, device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        tensors = list(_tensors((*args, *kwargs.values())))
        everywhere = {tensor.device.type for tensor in tensors}
        places = {tensor.device.type for tensor in tensors if tensor.dim()}
        if name in _WAITING and self.device in everywhere:
            self.seen.append(name)
        elif self.device in places and len(places) > 1:
            self.seen.append(f"{name} of {sorted(places)}")
        elif name == "_to_copy" and places:
            there = torch.device(kwargs.get("device") or next(iter(places))).type
            if places != {there}:
                self.seen.append(f"{name} to {there}")
        return func(*args, **kwargs)


class _Calls(TorchFunctionMode):
    """Notes tensors that are made from Python's or NumPy's numbers, as an index too."""

    def __init__(self, seen: list[str]) -> None:
        super().__init__()
        self.seen = seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.__getitem__, Tensor.__setitem__):
            parts = args[1] if isinstance(args[1], tuple) else (args[1],)
            if any(isinstance(part, list | np.ndarray) for part in parts):
                self.seen.append(f"index {args[1]}")
        elif func in (torch.tensor, torch.as_tensor) and not isinstance(args[0], Tensor):
            self.seen.append(f"tensor {args[0]}")
        return func(*args, **(kwargs or {}))


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
