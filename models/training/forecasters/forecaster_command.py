"""The command that trains the learned forecasters on keypoint tracks."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models import checkpoint
from models.build import choose_device
from models.forecast.config import PRESETS, NetworkConfig, build_network, describe
from models.forecast.grunf import GruNf
from models.forecast.likelihood import log_likelihood, ordinary
from models.forecast.linear import LinearConfig
from models.forecast.nf import Nf
from models.forecast.scaling import PREDICTS
from models.forecast.vrnn import SPREADS, VrnnConfig
from models.training.data.extract import extract
from models.training.data.tracks import Tracks, load_tracks, split_by_person
from models.training.forecasters.forecaster_linear import solve
from models.training.forecasters.forecaster_run import Settings, Training
from models.training.forecasters.forecaster_validation import Figures, Validation
from models.training.run import load_state, positive_float, positive_int, save_state, stop_requests
from shared.errors import KeycastError, RequestError
from shared.runtime.command import add_network_arguments

INTERRUPTED = 130
HELD_OUT = 0.15
SAVE_SECONDS = 20.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("--model", choices=sorted(PRESETS), required=True)
    parser.add_argument(
        "--tracks", type=Path, required=True,
        help="folder of keypoint tracks (.npz), or of clips, which are made into tracks next to the output",
    )  # fmt: skip
    parser.add_argument(
        "--validate", type=Path, help="the same, of other people (default: hold some people out)"
    )
    parser.add_argument(
        "--output", type=Path, help="folder for the run, with the result in weights/ (default: runs/MODEL)"
    )
    add_network_arguments(parser)
    parser.add_argument("--config", choices=("call", "paper"), default="call")
    parser.add_argument("--predict", choices=PREDICTS, default="delta")
    parser.add_argument(
        "--spread", choices=SPREADS, help="spread of the vrnn's decoder (default: the preset's)"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=positive_int)
    length.add_argument("--minutes", type=positive_float, help="default: 8")
    parser.add_argument("--batch", type=positive_int, default=64)
    parser.add_argument("--rate", type=positive_float, default=1e-3, help="highest learning rate")
    parser.add_argument("--rollout-weight", type=_weight, default=1.0)
    parser.add_argument(
        "--as-filmed", action="store_true", help="do not reverse, mirror, rotate or stretch windows"
    )
    parser.add_argument("--every", type=positive_int, default=100, help="steps between validations")
    parser.add_argument(
        "--patience",
        type=positive_int,
        default=40,
        help="validations without a new best before stopping (default 40)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=positive_int, default=1)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m models.training forecaster")
    add_arguments(parser)
    try:
        return train(parser.parse_args(argv))
    except KeycastError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def train(options: argparse.Namespace) -> int:
    """Train, or go on training, and leave the best weights in `options.output`/weights.

    Returns 0, or 130 if Ctrl-C or SIGTERM ended the run early: the same command then goes on with it.
    """
    torch.set_num_threads(options.threads)
    options.output = options.output or Path("runs", options.model)
    tracks = _tracks(options.tracks, options)
    if options.validate is None:
        tracks, others = split_by_person(tracks, HELD_OUT, seed=0)
    else:
        others = _tracks(options.validate, options)
    if others.tracks_of != tracks.tracks_of:
        raise RequestError(
            "training and validation tracks come from different detectors: extract both with one"
        )
    validation = Validation(others)
    _make(options.output)
    print(f"{len(tracks.clips)} clips, {tracks.frames} frames; validation {len(validation.past)} windows")
    print(f"hold    {validation.hold}\ndamped  {validation.damped}", flush=True)
    config = _config(options)
    if isinstance(config, LinearConfig):
        weights, best = solve(config, tracks, validation)
        return _finish(options, weights, config, others, best)
    run = _start(options, config, tracks)
    try:
        with stop_requests() as stops:
            _loop(run, validation, options, tracks.tracks_of, stops)
    except OSError as error:
        raise KeycastError(f"the run could not be saved ({error}): free some space and try again") from error
    _finish(options, run.best_weights, config, others, run.best)
    if stops:
        print(f"stopped at step {run.step}: run the same command to continue")
        return INTERRUPTED
    return 0


def _config(options: argparse.Namespace) -> NetworkConfig:
    """Return the preset asked for, with what was asked for besides."""
    config = replace(PRESETS[options.model][options.config], predict=options.predict)
    if options.spread is None:
        return config
    if not isinstance(config, VrnnConfig):
        raise RequestError(f"--spread only applies to vrnn; leave it out for {options.model}")
    return replace(config, spread=options.spread)


def _tracks(folder: Path, options: argparse.Namespace) -> Tracks:
    """Return the tracks in `folder`, or of the clips in it, made where they have not been made before."""
    if not folder.is_dir() or any(folder.glob("*.npz")):
        return load_tracks(folder)
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
    cache = options.output.parent / "tracks" / f"{folder.name}-{name}"
    given = {"backbone": options.backbone, "checkpoint": options.checkpoint, "device": options.device}
    extract(argparse.Namespace(clips=[folder], output=cache, **given))
    return load_tracks(cache)


def _finish(
    options: argparse.Namespace,
    weights: dict[str, Tensor],
    config: NetworkConfig,
    others: Tracks,
    best: float,
) -> int:
    """Measure what is ordinary on other people, where the network has a density, and write the weights."""
    network = build_network(config, others.layout.dimensions)
    network.load_state_dict(weights)
    if isinstance(network, GruNf | Nf):
        clips = [clip.frames for clip in others.clips]
        found = np.concatenate([-log_likelihood(network.eval(), frames) for frames in clips])
        found /= network.dimensions
        weights = {**weights, "ordinary": torch.tensor(ordinary(found))}
    checkpoint.save(options.output / "weights", weights, describe(options.model, config, others.tracks_of))
    print(f"best {best:.3f} of hold; weights in {options.output / 'weights'}")
    return 0


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"cannot write to {folder} ({error}): choose another --output") from error


def _start(options: argparse.Namespace, config: NetworkConfig, tracks: Tracks) -> Training:
    minutes = 8.0 if options.steps is None and options.minutes is None else options.minutes
    settings = Settings(
        options.model,
        config,
        options.steps,
        minutes,
        options.batch,
        options.rate,
        options.rollout_weight,
        not options.as_filmed,
        options.seed,
    )
    run = Training(settings, tracks, _device(options))
    earlier = load_state(options.output / "state.pt")
    if earlier is not None:
        run.restore(earlier)
        print(f"resuming at step {run.step}")
    return run


def _loop(
    run: Training, validation: Validation, options: argparse.Namespace, tracks_of: str, stops: list[int]
) -> None:
    path = options.output / "state.pt"
    began = saved = time.monotonic()
    first = run.step
    while run.done < 1 and run.stale < options.patience and not stops:
        losses = run.advance()
        if run.step % 20 == 0:
            speed = (run.step - first) / (time.monotonic() - began)
            shown = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
            print(f"\r{run.done:4.0%} step {run.step}, {speed:.1f}/s, {shown}   ", end="", flush=True)
        if run.step % options.every == 0 or run.done >= 1:
            figures = validation.of_network(run.network)
            if run.judge(figures.against(validation.hold)):
                _export(run, options, tracks_of)
            _report(run, figures, options.output / "validation.jsonl")
        if time.monotonic() - saved > SAVE_SECONDS:
            save_state(path, run.state())
            saved = time.monotonic()
    save_state(path, run.state())


def _report(run: Training, figures: Figures, path: Path) -> None:
    mark = " *" if run.stale == 0 else ""
    print(f"\n{run.settings.model:7} {figures} at step {run.step}{mark}", flush=True)
    with path.open("a", encoding="utf-8") as log:
        log.write(json.dumps({"step": run.step, "best": run.best, **asdict(figures)}) + "\n")


def _export(run: Training, options: argparse.Namespace, tracks_of: str) -> None:
    config = describe(run.settings.model, run.settings.config, tracks_of)
    checkpoint.save(options.output / "weights", run.best_weights, config)


def _device(options: argparse.Namespace) -> torch.device:
    """Return where to train: a network of a call's sizes, by itself, on the CPU.

    Its step is some hundred tiny kernels, one after the other: a GPU takes longer to launch them than a core
    to compute them. The paper's sizes are worth one.
    """
    small = options.config == "call" and options.device == "auto"
    return torch.device(choose_device("cpu" if small else options.device))


def _weight(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be at least 0, not {value}")
    return value
