"""A training run: learning-rate schedule, processes, and state on disk that survives a kill at any moment."""

from __future__ import annotations

import argparse
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

from shared.errors import KeycastError, RequestError


def cosine(done: float, warmup: float) -> float:
    """Learning-rate factor at the fraction `done` of a run: linear warm-up, then half a cosine to 2 %."""
    if done < warmup:
        return done / warmup + 1e-3
    progress = min(1.0, (done - warmup) / (1 - warmup))
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write `state` so that a kill leaves either the old file or the new one; KeycastError where it fails."""
    partial = path.with_suffix(".part")
    try:
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        raise KeycastError(
            f"Could not save the run to {path} ({error}); free some space and repeat."
        ) from error


def load_state(path: Path) -> dict[str, Any] | None:
    """Return the state of an earlier run, or None where there is none. RequestError for a damaged file."""
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds; each means the same to the user
        reason = str(error).strip().split("\n")[0]
        raise RequestError(f"Could not resume from {path} ({reason}); delete it to start afresh.") from error
    if not isinstance(state, dict):
        raise RequestError(
            f"Could not resume from {path}: it is not a training state; delete it to start afresh."
        )
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
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield dist.get_rank(), dist.get_world_size()
    finally:
        dist.destroy_process_group()


def any_process(here: bool, size: int, device: torch.device) -> bool:
    """Return whether `here` holds in any of `size` processes. All must ask together; all get one answer."""
    if size == 1:
        return here
    flag = torch.tensor(float(here), device=device)
    dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    return bool(flag.item())


def positive_int(text: str) -> int:
    """Parse an option that must be a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def positive_float(text: str) -> float:
    """Parse an option that must be a finite number over 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be over 0, not {value}")
    return value
