"""`python -m models.training backbone`: train the lite network on folders of clips."""

from __future__ import annotations

import argparse
import copy
import json
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from models import checkpoint
from models.lite.config import LiteConfig
from models.lite.network import LiteNetwork
from models.training.data import Clip, Pairs, load_clips
from models.training.lite import LiteObjective, random_window
from models.training.run import cosine, load_state, processes, save_state, stop_requests
from models.training.validate import validate

_log = logging.getLogger(__name__)
_SAVE_SECONDS = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--clips", nargs="+", type=Path, required=True, help="folders of training clips")
    parser.add_argument("--validate", nargs="+", type=Path, required=True, help="folders of clips of other people")
    parser.add_argument("--output", type=Path, default=Path("runs/lite"), help="state, sheets and weights go here")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="decoded frames")
    parser.add_argument("--perceptual", type=Path, help="SqueezeNet v1.1 convolutions as safetensors")
    parser.add_argument("--pictures", type=int, default=60_000, help="length of the run, in pictures")
    parser.add_argument("--whole-after", type=float, default=0.85, help="fraction after which whole frames train")
    parser.add_argument("--batch", type=int, default=12, help="pictures a step and process")
    parser.add_argument("--rate", type=float, default=5e-4, help="highest learning rate")
    parser.add_argument("--every", type=float, default=5.0, help="minutes between validations")
    parser.add_argument("--workers", type=int, default=0, help="loader processes")
    parser.add_argument("--bf16", action="store_true", help="run the network in bfloat16 where that is safe")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--seed", type=int, default=0)


@dataclass
class _Run:
    """Everything that changes while training."""

    network: LiteNetwork
    average: LiteNetwork
    optimiser: torch.optim.Optimizer
    pictures: int = 0
    step: int = 0

    def state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "pictures": self.pictures,
            "step": self.step,
            "random": torch.get_rng_state(),
        }

    def resume(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.pictures, self.step = state["pictures"], state["step"]
        torch.set_rng_state(state["random"])


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name, int(os.environ.get("LOCAL_RANK", "0"))) if name == "cuda" else torch.device(name)


def train(options: argparse.Namespace) -> int:
    """Run or resume the training that `options` describe. Returns the exit code."""
    device = _device(options.device)
    with processes(device) as (rank, size), stop_requests() as stops:
        options.output.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(options.seed)
        network = LiteNetwork(LiteConfig()).to(device, memory_format=torch.channels_last)
        objective = LiteObjective(network, options.perceptual).to(device)
        optimiser = torch.optim.AdamW(network.parameters(), lr=options.rate, weight_decay=1e-4, betas=(0.9, 0.99))
        run = _Run(network, copy.deepcopy(network), optimiser)
        state_file = options.output / "state.pt"
        if state := load_state(state_file):
            run.resume(state)
            _log.info("Resumed after %d pictures", run.pictures)
        # Each resumption draws other pairs, and each process its own window and warps.
        torch.manual_seed(options.seed + 1000 * rank + run.step)
        clips = load_clips(options.clips, options.cache)
        others = load_clips(options.validate, options.cache) if rank == 0 else []
        parallel = DistributedDataParallel(objective) if size > 1 else objective
        pairs = Pairs(clips, options.seed + run.step, rank)
        loader = DataLoader(pairs, options.batch, num_workers=options.workers, persistent_workers=options.workers > 0)
        if rank == 0:
            _log.info("%d clips to train on, %d to validate on, state in %s", len(clips), len(others), state_file)
        _loop(run, parallel, iter(loader), options, device, rank, size, others, stops)
    return 0


def _loop(
    run: _Run, objective: nn.Module, batches: Iterator[tuple[Tensor, Tensor]], options: argparse.Namespace,
    device: torch.device, rank: int, size: int, others: list[Clip], stops: list[int],
) -> None:  # fmt: skip
    windows = torch.Generator().manual_seed(options.seed + run.step)  # alike in all processes
    saved = validated = time.monotonic()
    started, before = saved, run.pictures
    while run.pictures < options.pictures and not stops:
        done = run.pictures / options.pictures
        for group in run.optimiser.param_groups:
            group["lr"] = options.rate * cosine(done, warmup=min(0.02, 2400 / options.pictures))
        window = None if done >= options.whole_after else random_window(windows)
        losses = _step(run, objective, next(batches), window, device, options.bf16)
        run.pictures += options.batch * size
        run.step += 1
        if rank:
            continue
        now = time.monotonic()
        if run.step % 20 == 0:
            speed = (run.pictures - before) / (now - started)
            shown = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
            print(f"\r{run.pictures}/{options.pictures} pictures, {speed:.1f}/s, {shown}   ", end="", flush=True)
        if now - saved > _SAVE_SECONDS:
            save_state(options.output / "state.pt", run.state())
            saved = time.monotonic()
        if now - validated > 60 * options.every:
            _validate(run, options, others, device)
            validated = time.monotonic()
    if rank == 0:
        save_state(options.output / "state.pt", run.state())
        _validate(run, options, others, device)


def _step(
    run: _Run, objective: nn.Module, batch: tuple[Tensor, Tensor], window: Any, device: torch.device, bf16: bool
) -> dict[str, float]:  # fmt: skip
    run.network.train()
    source, driving = (
        picture.to(device).float().div(255).contiguous(memory_format=torch.channels_last) for picture in batch
    )
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        losses: dict[str, Tensor] = objective(source, driving, window)
        total = torch.stack(list(losses.values())).sum()
    run.optimiser.zero_grad(set_to_none=True)
    total.backward()
    norm = nn.utils.clip_grad_norm_(run.network.parameters(), 5.0)
    if torch.isfinite(norm):
        run.optimiser.step()
        _average(run.average, run.network, min(0.999, (1 + run.step) / (10 + run.step)))
    return {name: float(value.detach()) for name, value in losses.items()}


@torch.no_grad()
def _average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged weights and running statistics towards the network's."""
    theirs = network.state_dict()
    for name, mine in average.state_dict().items():
        if mine.dtype.is_floating_point:
            mine.lerp_(theirs[name], 1 - decay)
        else:
            mine.copy_(theirs[name])


def _validate(run: _Run, options: argparse.Namespace, others: list[Clip], device: torch.device) -> None:
    sheet = options.output / f"sheet-{run.pictures:07d}.png"
    figures = validate(run.average, others, sheet, device)
    line = {"pictures": run.pictures, **figures}
    with (options.output / "validation.jsonl").open("a") as log:
        log.write(json.dumps(line) + "\n")
    print("\n" + " ".join(f"{k} {v:.4g}" for k, v in line.items()) + f"; look at {sheet}", flush=True)
    half = {
        name: tensor.half() if tensor.dtype.is_floating_point else tensor
        for name, tensor in run.average.state_dict().items()
    }
    config = {"format": 1, "model": "lite", "network": run.average.config.to_map(), "pictures": run.pictures}
    checkpoint.save(options.output / "weights", half, config)
