"""A training run: learning-rate schedule, processes, and state on disk that survives a kill at any moment."""

from __future__ import annotations

import argparse
import math
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist

from models.build import choose_device
from shared.errors import KeycastError, RequestError

PATIENCE = timedelta(hours=12)
"""How long the processes of one run wait for each other; NCCL's own ten minutes end a run that decodes."""


def training_device(name: str) -> torch.device:
    """Return the device of this process, which torchrun may have started as one of many.

    RequestError for a GPU that is not there or does not compute, and for more processes than GPUs. A GPU
    computes convolutions of one shape by what is fastest for it, which it finds out by trying.
    """
    kind = choose_device(name)
    if kind == "cpu":
        return torch.device(kind)
    place, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if place >= there:
        raise RequestError(
            f"There are more processes than GPUs ({there}); start torchrun with --nproc-per-node {there}, or "
            "add --device cpu."
        )
    torch.backends.cudnn.benchmark = True
    return torch.device(kind, place)


class Elapsed:
    """The seconds that a run has taken, in this process and in those before it that it goes on from."""

    def __init__(self, before: float = 0.0) -> None:
        self._began = time.monotonic() - before

    def __call__(self) -> float:
        """Return them as they are now."""
        return time.monotonic() - self._began


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
            f"Could not save the run to {path} ({error}); free some space and try again."
        ) from error


def load_state(path: Path) -> dict[str, Any] | None:
    """Return the state of an earlier run, or None where there is none. RequestError for a damaged file."""
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds; each means the same to the user
        reason = str(error).strip().split("\n")[0]
        raise RequestError(f"Could not resume from {path} ({reason}); delete it to start over.") from error
    if not isinstance(state, dict):
        raise RequestError(
            f"Could not resume from {path}: it is not a training state; delete it to start over."
        )
    return state


def fused(saved: dict[str, Any]) -> dict[str, Any]:
    """Return an optimiser's state as a fused one has it, for a run that began without."""
    return {**saved, "param_groups": [{**group, "fused": True} for group in saved["param_groups"]]}


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
    """Join the process group torchrun started, if it did; yield (rank, number of processes).

    They wait for each other for hours: one may have much to decode, or to validate, while others have none.
    """
    if "RANK" not in os.environ:
        yield 0, 1
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield dist.get_rank(), dist.get_world_size()
    finally:
        dist.destroy_process_group()


def max_over_processes(here: float, size: int, device: torch.device) -> float:
    """Return the largest `here` of any of `size` processes. All must ask together; all get one answer."""
    if size == 1:
        return here
    largest = torch.tensor(here, dtype=torch.float32, device=device)
    dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    return float(largest)


def any_process(here: bool, size: int, device: torch.device) -> bool:
    """Return whether `here` holds in any of `size` processes. All must ask together; all get one answer."""
    return bool(max_over_processes(float(here), size, device))


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
