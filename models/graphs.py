"""CUDA graphs: a network's pass over one frame, recorded once and replayed without launching each kernel.

A graph replays on the memory it was recorded on. What varies from call to call is therefore copied into that
memory first: `StaticPass` keeps it, for one picture or one frame of keypoints, and for all that a source
picture leaves behind.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from shared.runtime.logs import logger

_log = logger("network")

# What a pass depends on but what seldom changes: a tensor, or tuples and dataclasses of them.
KeptT = TypeVar("KeptT")
Replay = Callable[[], None]
Record = Callable[[Callable[[], Tensor]], tuple[Replay, Tensor]]
# Libraries choose algorithms and take workspace in their first passes, which a recording must not contain.
_WARM_UP_PASSES = 3
# How far numbers may be off that were computed by another algorithm: positions are in [-1, 1].
_SAME = 1e-3


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
    """Record what `run` launches on the current GPU: how to do it again, and where its result will lie.

    However it ends, the thread goes on on the stream that it was on: torch leaves it on the recording's where
    that fails. What other threads do with the GPU meanwhile does not end the recording.
    """
    before = torch.cuda.current_stream()
    stream: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    graph = torch.cuda.CUDAGraph()
    try:
        stream.wait_stream(before)
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP_PASSES):
                run()
        before.wait_stream(stream)
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            result = run()
    finally:
        torch.cuda.set_stream(before)
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
    """Record a pass; None, with a warning, where this GPU or this network does not take to it.

    The recording is played once, and has to give what the pass gives by itself.
    """
    try:
        overwrite(kept, kept)  # refuses now what could not be exchanged later
        run = StaticPass(function, kept, varying, record)
        if not alike(run(varying), function(kept, varying)):
            raise RuntimeError("it gives other results")  # noqa: TRY301 - reported as any other failure
    except (RuntimeError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        _log.warning("Frames are rendered without a CUDA graph, which is slower: %s", reason)
        return None
    return run


def alike(one: Tensor, other: Tensor) -> bool:
    """Whether two results are the same numbers, but for what a different order of additions makes of them.

    Bytes may be off by two levels.
    """
    wanted = other.float()
    most = 2.0 if one.dtype == torch.uint8 else _SAME * (1 + wanted.abs())
    return bool(((one.float() - wanted).abs() <= most).all())
