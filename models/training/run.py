"""A training run: learning-rate schedule, processes, and state on disk that survives a kill at any moment."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist

from shared.errors import RequestError


def cosine(done: float, warmup: float) -> float:
    """Learning-rate factor at the fraction `done` of a run: linear warm-up, then half a cosine down to 2 %."""
    if done < warmup:
        return done / warmup + 1e-3
    progress = min(1.0, (done - warmup) / (1 - warmup))
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write `state` so that a kill leaves either the old file or the new one."""
    partial = path.with_suffix(".part")
    torch.save(state, partial)
    partial.replace(path)


def load_state(path: Path) -> dict[str, Any] | None:
    """Return the state of an earlier run, or None where there is none. Raises RequestError on a damaged file."""
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds; each means the same to the user
        raise RequestError(f"Could not resume from {path} ({error}); delete it to start afresh.") from error
    if not isinstance(state, dict):
        raise RequestError(f"Could not resume from {path}: it is not a training state; delete it to start afresh.")
    return state


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in the returned list, so that a loop ends after its step and saves."""
    seen: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        seen.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def processes(device: torch.device) -> Iterator[tuple[int, int]]:
    """Join the process group torchrun started, if it did; yield (rank, number of processes)."""
    if "RANK" not in os.environ:
        yield 0, 1
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield dist.get_rank(), dist.get_world_size()
    finally:
        dist.destroy_process_group()
