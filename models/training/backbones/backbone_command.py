"""`python -m models.training backbone`: train the lite or the full network on folders of clips."""

from __future__ import annotations

import argparse
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from models.clips.layouts import training_part, validation_folders
from models.devices import device_words
from models.fomm.config import FommConfig
from models.inference import compute_exactly
from models.lite.config import HEATS, LiteConfig
from models.training.backbones.backbone_loop import Job, train_on, validate_run
from models.training.backbones.backbone_run import Run
from models.training.backbones.lite import ONLY
from models.training.backbones.recipes import RECIPES, FommRecipe, LiteRecipe
from models.training.data.device_pairs import DevicePairs, fits
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
    training_device,
)
from shared.errors import RequestError
from shared.runtime.command import add_device_argument

INTERRUPTED = 130
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
        help="folders of training clips: videos, gifs, folders of frames; of a train/test split, train",
    )
    add(
        "--validate",
        nargs="+",
        type=Path,
        help="folders of clips of other people (default: test beside train)",
    )
    add("--output", type=Path, help="folder for state, sheets and weights (default: runs/MODEL)")
    add(
        "--cache",
        type=Path,
        default=Path("runs/cache"),
        help="folder for decoded frames (default: runs/cache)",
    )
    add(
        "--landmarks",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="lite: what `models.training landmarks` found in clips and portraits; else faces stay still",
    )
    add(
        "--init",
        type=Path,
        metavar="FOLDER",
        help="lite: start from these weights, with batch norms frozen",
    )
    add(
        "--only",
        choices=ONLY,
        help="lite: with --init, train only a part: how the detector sees eyes and mouth (patches), all but "
        "that (body), or motion or all of the rendering; after these two, forecasters and codec tables stay "
        "valid. With --teacher: how it sees the whole picture (whole)",
    )
    add(
        "--teacher",
        type=Path,
        metavar="FOLDER",
        help="lite: weights whose detector --only whole imitates, and whose other parts it keeps",
    )
    add(
        "--heat",
        type=int,
        choices=HEATS,
        help="lite: side of the heatmaps of the detector's first look (default: 32); 64 takes twice as long",
    )
    add("--stills", type=Path, help="a folder of JPEG portraits, to be paired with warped copies")
    add("--perceptual", type=Path, help="SqueezeNet v1.1 convolutions as safetensors; for fomm also VGG-19")
    add(
        "--optical-flow",
        action="store_true",
        help="lite: also learn from optical flow how clothes and hair move; a sixth slower on CPUs",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--pictures",
        type=positive_int,
        help="length of the run, in pictures (default: lite 60,000, on a GPU 1,000,000; fomm as published)",
    )
    length.add_argument(
        "--minutes",
        type=positive_float,
        help="length of the run, in minutes: the rate decays by the clock, weights are saved every minute",
    )
    add("--whole-after", type=float, help="lite: fraction after which whole frames train (default: 0.85)")
    add(
        "--sizes",
        help="fomm: network sizes, a published configuration's name or a JSON file (default: vox-256)",
    )
    add("--adversarial", action="store_true", help="fomm: add the published discriminator")
    add("--use-kp", action="store_true", help="fomm: show the keypoints to the discriminator, as in vox-adv")
    add(
        "--batch",
        type=positive_int,
        help="pictures per step and process (default: lite 12, on a GPU 128; fomm 20)",
    )
    add(
        "--rate",
        type=positive_float,
        help="highest learning rate (default: lite 7e-4, on a GPU 1.2e-3; fomm 2e-4)",
    )
    add("--every", type=positive_float, default=5.0, help="minutes between validations")
    add(
        "--workers",
        type=int,
        help="loader processes (default: none; on a GPU that has no room for the frames, up to 8)",
    )
    add("--bf16", action="store_true", help="run the network in bfloat16 where that is safe")
    add_device_argument(parser)
    add("--seed", type=int, default=0)


def train(options: argparse.Namespace, config: LiteConfig | FommConfig | None = None) -> int:
    """Run or resume the training that `options` describe, of a network of `config`'s sizes.

    Under torchrun every process calls this; the first one validates and saves. Returns 0, or 130 if Ctrl-C or
    SIGTERM ended the run early: the same command then goes on with it.
    """
    device = training_device(options.device)
    recipe = _recipe(options, config, device)
    validate_on = validation_folders(options.clips, options.validate)
    with processes(device) as (rank, size):
        if size > 1:
            fill_cache(training_part(options.clips), options.cache, rank, size)
            any_process(False, size, device)
        clips = load_clips(training_part(options.clips), options.cache)
        if options.minutes is None:
            options.pictures = options.pictures or recipe.length(len(clips), device)
        others = [] if rank else load_clips(validate_on, options.cache)
        job = Job(options, recipe, device, rank, size, others)
        run, objective = _start(job)
        if rank == 0:
            print(f"{len(clips)} clips to train on, {len(others)} to validate on, state in {job.state_file}")
            print(f"on {device_words(device.type)}, {options.batch} pictures per step, rate {options.rate:g}")
        with stop_requests() as stops:
            stopped = train_on(run, objective, _batches(job, clips, run.step), job, stops)
            if rank == 0:
                save_state(job.state_file, run.state())
        if rank == 0:
            validate_run(run, job)
            print(f"weights in {options.output / 'weights'}")
            if stopped:
                print(f"stopped after {run.pictures} pictures: run the same command to continue")
        # All leave together: torchrun ends the rest as soon as one process is gone.
        any_process(False, size, device)
    return INTERRUPTED if stopped else 0


def _recipe(
    options: argparse.Namespace, config: LiteConfig | FommConfig | None, device: torch.device
) -> LiteRecipe | FommRecipe:
    """Return what is to be trained, and fill in what the options leave to it."""
    kind = RECIPES[options.model]
    usual = kind.defaults if device.type == "cpu" else kind.defaults_on_gpu
    options.batch = options.batch or usual.batch
    options.rate = options.rate or usual.rate
    options.output = options.output or Path("runs", options.model)
    recipe = kind(options, config)  # type: ignore[arg-type]
    if options.optical_flow and device.type != "cpu":
        raise RequestError("--optical-flow is computed on the CPU; use --device cpu, or leave it out.")
    return recipe


def _start(job: Job) -> tuple[Run[Any], nn.Module]:
    """Return the run, fresh or resumed, and its objective, shared by all processes."""
    options = job.options
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"Cannot write to {options.output} ({error}); give another --output.") from error
    torch.manual_seed(options.seed)
    if options.bf16 and job.device.type == "cuda":
        compute_exactly()  # what is left in float32 is meant to be
    run, objective = job.recipe.start(job.device, job.size)
    state = load_state(job.state_file)
    if state is not None:
        run.resume(state)
        _log.info("Resumed after %d pictures", run.pictures)
    if job.rank or state is None:
        # Each process draws warps of its own; the first one goes on where its saved numbers ended.
        torch.manual_seed(options.seed + 1000 * job.rank + run.step)
    return run, DistributedDataParallel(objective) if job.size > 1 else objective


def _batches(job: Job, clips: list[Clip], step: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield this process's batches; each resumption, at another `step`, draws other pairs.

    A GPU draws them itself, where it has room for all frames.
    """
    options, device = job.options, job.device
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
    sources = max(1, options.batch // job.recipe.drivings)
    on_gpu, workers = device.type == "cuda", options.workers
    if on_gpu and workers is None:
        if fits(pairs, device):
            return iter(DevicePairs(pairs, sources, device))
        workers = min(8, os.cpu_count() or 1)
        _log.warning("The GPU has no room for all frames: %d processes decode them again and again", workers)
    workers = workers or 0
    return iter(
        DataLoader(
            pairs,
            sources,
            num_workers=workers,
            persistent_workers=workers > 0,
            worker_init_fn=_leave_interrupts,
            pin_memory=on_gpu,
        )
    )


def _leave_interrupts(_worker: int) -> None:
    """Let Ctrl-C, which reaches the loader processes too, end only the step that waits for their pictures."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
