"""`python -m models.training backbone`: train the lite or the full network on folders of clips."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from models.build import choose_device
from models.clips.layouts import training_part, validation_folders
from models.fomm.config import FommConfig
from models.lite.config import LiteConfig
from models.training.backbones.backbone_run import Run
from models.training.backbones.recipes import RECIPES, FommRecipe, LiteRecipe
from models.training.backbones.validate import validate
from models.training.data.frames import Clip, fill_cache, load_clips, load_stills
from models.training.data.labels import Labels
from models.training.data.pairs import Pairs
from models.training.run import (
    any_process,
    load_state,
    positive_float,
    positive_int,
    processes,
    save_state,
    stop_requests,
)
from shared.errors import KeycastError, RequestError
from shared.runtime.command import add_device_argument

INTERRUPTED = 130
SAVE_SECONDS = 60.0
_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add = parser.add_argument
    add("--model", default="lite", choices=RECIPES, help="lite, or fomm as published")
    add(
        "--clips",
        nargs="+",
        type=Path,
        required=True,
        help="folders of training clips: videos, gifs, folders of frames; of one with train and test, train",
    )
    add(
        "--validate",
        nargs="+",
        type=Path,
        help="folders of clips of other people (default: test beside train)",
    )
    add("--output", type=Path, help="state, sheets and weights go here (default: runs/MODEL)")
    add("--cache", type=Path, default=Path("runs/cache"), help="decoded frames")
    add(
        "--landmarks",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="lite: what `models.training landmarks` found in the clips and portraits; faces speak by it",
    )
    add(
        "--init",
        type=Path,
        metavar="FOLDER",
        help="lite: begin with these weights; batch norms rest",
    )
    add(
        "--keep-detector",
        action="store_true",
        help="lite: with --init, train the rendering alone; forecasters and codec tables stay valid",
    )
    add("--stills", type=Path, help="a folder of JPEG portraits, to be paired with bent copies")
    add("--perceptual", type=Path, help="SqueezeNet v1.1 convolutions as safetensors; for fomm also VGG-19")
    add(
        "--pictures",
        type=positive_int,
        help="length of the run, in pictures (default: 60,000 for lite, as published for fomm)",
    )
    add("--whole-after", type=float, help="lite: fraction after which whole frames train (default: 0.85)")
    add("--sizes", help="fomm: the network's, as a published configuration's name or a JSON file (vox-256)")
    add("--adversarial", action="store_true", help="fomm: add the published adversary")
    add("--use-kp", action="store_true", help="fomm: the adversary sees the keypoints, as in vox-adv")
    add("--batch", type=positive_int, help="pictures a step and process (default: 12 for lite, 20 for fomm)")
    add("--rate", type=positive_float, help="highest learning rate (default: 7e-4 for lite, 2e-4 for fomm)")
    add("--every", type=positive_float, default=5.0, help="minutes between validations")
    add("--workers", type=int, default=0, help="loader processes")
    add("--bf16", action="store_true", help="run the network in bfloat16 where that is safe")
    add_device_argument(parser)
    add("--seed", type=int, default=0)


@dataclass(frozen=True)
class _Job:
    """Constants of a training run: the request, and this process's place among the others."""

    options: argparse.Namespace
    recipe: LiteRecipe | FommRecipe
    device: torch.device
    rank: int
    size: int
    others: list[Clip]

    @property
    def state_file(self) -> Path:
        folder: Path = self.options.output
        return folder / "state.pt"


def train(options: argparse.Namespace, config: LiteConfig | FommConfig | None = None) -> int:
    """Run or resume the training that `options` describe, of a network of `config`'s sizes.

    Under torchrun every process calls this; the first one validates and saves. Returns 0, or 130 if Ctrl-C or
    SIGTERM ended the run early: the same command then goes on with it.
    """
    recipe = _recipe(options, config)
    validate_on = validation_folders(options.clips, options.validate)
    device = _device(options.device)
    with processes(device) as (rank, size):
        if size > 1:
            fill_cache(training_part(options.clips), options.cache, rank, size)
            any_process(False, size, device)
        clips = load_clips(training_part(options.clips), options.cache)
        options.pictures = options.pictures or recipe.length(len(clips))
        others = [] if rank else load_clips(validate_on, options.cache)
        job = _Job(options, recipe, device, rank, size, others)
        run, objective = _start(job)
        if rank == 0:
            print(f"{len(clips)} clips to train on, {len(others)} to validate on, state in {job.state_file}")
        with stop_requests() as stops:
            stopped = _loop(run, objective, _batches(job, clips, run.step), job, stops)
            if rank == 0:
                save_state(job.state_file, run.state())
        if rank == 0:
            _validate(run, job)
            print(f"weights in {options.output / 'weights'}")
            if stopped:
                print(f"stopped after {run.pictures} pictures: the same command goes on")
        # All leave together: torchrun ends the rest as soon as one process is gone.
        any_process(False, size, device)
    return INTERRUPTED if stopped else 0


def _recipe(options: argparse.Namespace, config: LiteConfig | FommConfig | None) -> LiteRecipe | FommRecipe:
    """Return what is to be trained, and fill in what the options leave to it."""
    kind = RECIPES[options.model]
    options.batch = options.batch or kind.batch
    options.rate = options.rate or kind.rate
    options.output = options.output or Path("runs", options.model)
    return kind(options, config)  # type: ignore[arg-type]


def _device(name: str) -> torch.device:
    kind = choose_device(name)
    return (
        torch.device(kind, int(os.environ.get("LOCAL_RANK", "0"))) if kind == "cuda" else torch.device(kind)
    )


def _start(job: _Job) -> tuple[Run[Any], nn.Module]:
    """Return the run, fresh or resumed, and its objective, shared by all processes."""
    options = job.options
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"Cannot write to {options.output} ({error}); give another --output.") from error
    torch.manual_seed(options.seed)
    run, objective = job.recipe.start(job.device, job.size)
    state = load_state(job.state_file)
    if state is not None:
        run.resume(state)
        _log.info("Resumed after %d pictures", run.pictures)
    if job.rank or state is None:
        # Each process draws warps of its own; the first one goes on where its saved numbers ended.
        torch.manual_seed(options.seed + 1000 * job.rank + run.step)
    return run, DistributedDataParallel(objective) if job.size > 1 else objective


def _batches(job: _Job, clips: list[Clip], step: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield this process's batches; each resumption, at another `step`, draws other pairs."""
    options, workers = job.options, job.options.workers
    stills = load_stills(options.stills) if options.stills else ()
    labels = Labels.of(options.landmarks or (), clips, options.stills, len(stills))
    pairs = Pairs(
        clips,
        options.seed + step,
        job.rank,
        drivings=job.recipe.drivings,
        stills=stills,
        landmarks=labels.clips,
        still_landmarks=labels.stills,
    )
    return iter(
        DataLoader(
            pairs,
            max(1, options.batch // job.recipe.drivings),
            num_workers=workers,
            persistent_workers=workers > 0,
            worker_init_fn=_leave_interrupts,
        )
    )


def _leave_interrupts(_worker: int) -> None:
    """Let Ctrl-C, which reaches the loader processes too, end only the step that waits for their pictures."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _loop(
    run: Run[Any],
    objective: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor, Tensor]],
    job: _Job,
    stops: list[int],
) -> bool:
    """Train to the end, or until any process is asked to stop; return whether that was so."""
    options, recipe = job.options, job.recipe
    windows = torch.Generator().manual_seed(options.seed + run.step)  # alike in all processes
    saved = validated = began = time.monotonic()
    before = run.pictures
    while run.pictures < options.pictures:
        # Asked of all at the same step: a process that stopped alone would leave the others waiting for it.
        if any_process(bool(stops), job.size, job.device):
            return True
        done = run.pictures / options.pictures
        for group in run.optimiser.param_groups:
            group["lr"] = options.rate * recipe.factor(done)
        losses = run.advance(objective, next(batches), recipe.window(done, windows), recipe.autocast)
        run.pictures += max(1, options.batch // recipe.drivings) * recipe.drivings * job.size
        if job.rank:
            continue
        now = time.monotonic()
        if run.step % 20 == 0:
            _progress(run, job, losses, (run.pictures - before) / (now - began))
        if now - saved > SAVE_SECONDS:
            save_state(job.state_file, run.state())
            saved = time.monotonic()
        if now - validated > 60 * options.every:
            _validate(run, job)
            validated = time.monotonic()
    return False


def _progress(run: Run[Any], job: _Job, losses: dict[str, Tensor], speed: float) -> None:
    shown = " ".join(f"{name} {float(value):.3f}" for name, value in losses.items())
    print(f"\r{run.pictures}/{job.options.pictures} pictures, {speed:.1f}/s, {shown}   ", end="", flush=True)


def _validate(run: Run[Any], job: _Job) -> None:
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
        raise KeycastError(f"Cannot write to {output} ({error}); free some space and repeat.") from error
    print("\n" + " ".join(f"{k} {v:.4g}" for k, v in figures.items()) + f"; look at {sheet}", flush=True)
    job.recipe.save(output / "weights", run)
