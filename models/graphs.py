"""CUDA graphs: a network's pass over one frame, recorded once and replayed without launching each kernel.

A graph replays on the memory it was recorded on. What varies from call to call is therefore copied into that
memory first: `StaticPass` keeps it, for one picture or one frame of keypoints, and for all that a source
picture leaves behind.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

# What a pass depends on but what seldom changes: a tensor, or tuples and dataclasses of them.
KeptT = TypeVar("KeptT")
Replay = Callable[[], None]
Record = Callable[[Callable[[], Tensor]], tuple[Replay, Tensor]]
# Libraries choose algorithms and take workspace in their first passes, which a recording must not contain.
_WARM_UP_PASSES = 3


def tensors(value: object) -> Iterator[Tensor]:
    """Yield the tensors in `value`, always in one order. Raises TypeError for anything else in it."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from tensors(item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from tensors(getattr(value, field.name))
    else:
        raise TypeError(f"A recorded pass takes tensors, not {type(value).__name__}.")


def overwrite(target: object, source: object) -> None:
    """Copy the tensors of `source` into those of `target`, which has the same structure and shapes."""
    for into, new in zip(tensors(target), tensors(source), strict=True):
        if into.shape != new.shape:
            raise ValueError(f"A recorded pass is for {tuple(into.shape)}, not {tuple(new.shape)}.")
        into.copy_(new)


def record_cuda(run: Callable[[], Tensor]) -> tuple[Replay, Tensor]:
    """Record what `run` launches on the current GPU: how to do it again, and where its result will lie."""
    stream: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP_PASSES):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run()
    return graph.replay, result


class StaticPass(Generic[KeptT]):
    """`function(kept, varying)` recorded for the shapes of its first arguments.

    It owns copies of both. `record` does the recording: a test without a GPU brings its own.
    """

    def __init__(
        self,
        function: Callable[[KeptT, Tensor], Tensor],
        kept: KeptT,
        varying: Tensor,
        record: Record = record_cuda,
    ) -> None:
        self._kept, self._varying = copy.deepcopy(kept), varying.clone()
        self._replay, self._result = record(lambda: function(self._kept, self._varying))

    def keep(self, kept: KeptT) -> None:
        """Take the content of `kept` from now on."""
        overwrite(self._kept, kept)

    def __call__(self, varying: Tensor) -> Tensor:
        """Return the result for `varying`, which the next call will overwrite."""
        overwrite(self._varying, varying)
        self._replay()
        return self._result


def recorded(
    function: Callable[[KeptT, Tensor], Tensor], kept: KeptT, varying: Tensor, record: Record = record_cuda
) -> StaticPass[KeptT] | None:
    """Record a pass; None, with a warning, where this GPU or this network does not take to it."""
    try:
        overwrite(kept, kept)  # refuses now what could not be exchanged later
        return StaticPass(function, kept, varying, record)
    except (RuntimeError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        logger.warning("Frames are rendered without a CUDA graph, which is slower: %s", reason)
        return None
