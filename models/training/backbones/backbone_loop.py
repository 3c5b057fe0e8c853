"""The loop of a backbone's training: its progress, what it shows and saves on the way."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.training.backbones.backbone_run import LOOK_EVERY, Run
from models.training.backbones.recipes import FommRecipe, LiteRecipe
from models.training.backbones.validate import validate
from models.training.data.frames import Clip
from models.training.run import Elapsed, any_process, max_over_processes, save_state
from shared.errors import KeycastError

SAVE_SECONDS = 60.0


@dataclass(frozen=True)
class Job:
    """Constants of a training run: the request, and this process's place among the others."""

    options: argparse.Namespace
    recipe: LiteRecipe | FommRecipe
    device: torch.device
    rank: int
    size: int
    others: list[Clip]

    @property
    def state_file(self) -> Path:
        """Where the run is saved."""
        folder: Path = self.options.output
        return folder / "state.pt"


def train_on(
    run: Run[Any],
    objective: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor, Tensor]],
    job: Job,
    stops: list[int],
) -> bool:
    """Train to the end, or until any process is asked to stop; return whether that was so."""
    options, recipe = job.options, job.recipe
    windows = torch.Generator().manual_seed(options.seed + run.step)  # alike in all processes
    progress, periodic = RunProgress(run, job), PeriodicTasks(run, job)
    while True:
        if progress.is_stopped(stops):
            return True
        done = progress.done
        if done >= 1:
            return False
        for group in run.optimiser.param_groups:
            group["lr"] = options.rate * recipe.factor(done)
        losses = run.advance(objective, next(batches), recipe.window(done, windows), recipe.autocast)
        run.pictures += max(1, options.batch // recipe.drivings) * recipe.drivings * job.size
        run.seconds = progress.elapsed()
        if job.rank == 0:
            periodic.after_step(losses)


class RunProgress:
    """How far a run is, by its pictures or its minutes, and whether it shall stop: alike in all processes."""

    def __init__(self, run: Run[Any], job: Job) -> None:
        self.elapsed = Elapsed(run.seconds)
        self._run, self._job, self._seconds = run, job, run.seconds

    def is_stopped(self, stops: list[int]) -> bool:
        """Return whether any process has been asked to stop.

        All processes ask each other at the same step: one that stopped alone would leave the others waiting
        for it. On GPUs, which each of them then waits for, they do it now and then.
        """
        run, size, device = self._run, self._job.size, self._job.device
        if size > 1 and device.type == "cuda" and run.step % LOOK_EVERY:
            return False
        self._seconds = max_over_processes(self.elapsed(), size, device)
        return any_process(bool(stops), size, device)

    @property
    def done(self) -> float:
        """The part of the run that is behind it; 1 at its end."""
        options = self._job.options
        minutes: float | None = options.minutes
        if minutes is not None:
            return self._seconds / (60 * minutes)
        return float(self._run.pictures / options.pictures)


class PeriodicTasks:
    """Shows how a run goes, saves it every minute, and validates it as often as `options.every` says."""

    def __init__(self, run: Run[Any], job: Job) -> None:
        self._run, self._job = run, job
        self._saved = self._validated = self._began = time.monotonic()
        self._before = run.pictures

    def after_step(self, losses: dict[str, Tensor]) -> None:
        """Do what is due; a run that is limited by time leaves its weights whenever it is saved."""
        run, job = self._run, self._job
        now = time.monotonic()
        if run.step % LOOK_EVERY == 0:
            _progress(run, job, losses, (run.pictures - self._before) / (now - self._began))
        if now - self._saved > SAVE_SECONDS:
            save_state(job.state_file, run.state())
            if job.options.minutes is not None:
                job.recipe.save(job.options.output / "weights", run)
            self._saved = time.monotonic()
        if now - self._validated > 60 * job.options.every:
            validate_run(run, job)
            self._validated = time.monotonic()


def _progress(run: Run[Any], job: Job, losses: dict[str, Tensor], speed: float) -> None:
    options = job.options
    length = (
        f"/{options.pictures} pictures" if options.minutes is None
        else f" pictures in {run.seconds / 60:.1f} of {options.minutes:g} minutes"
    )  # fmt: skip
    # All at once: each number that is asked for waits for a GPU.
    values = torch.stack(list(losses.values())).tolist()
    shown = " ".join(f"{name} {value:.3f}" for name, value in zip(losses, values, strict=True))
    print(f"\r{run.pictures}{length}, {speed:.1f}/s, {shown}   ", end="", flush=True)


def validate_run(run: Run[Any], job: Job) -> None:
    """Validate and write the averaged weights: `weights`, a contact sheet, a line of validation.jsonl."""
    output: Path = job.options.output
    sheet = output / f"sheet-{run.pictures:07d}.png"
    run.average.eval()
    try:
        render = partial(job.recipe.render, run.average)
        figures = {
            "pictures": run.pictures,
            **validate(render, job.others, sheet, job.device, run.size),
        }
        with (output / "validation.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(figures) + "\n")
    except OSError as error:
        raise KeycastError(f"Cannot write to {output} ({error}); free some space and try again.") from error
    print("\n" + " ".join(f"{k} {v:.4g}" for k, v in figures.items()) + f"; look at {sheet}", flush=True)
    job.recipe.save(output / "weights", run)
