"""Training of the learned forecasters on keypoint tracks: resumable after a kill at any moment."""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models import checkpoint
from models.forecast.config import PRESETS, NetworkConfig, build_network, describe
from models.training.forecaster_data import Windows, digest, fit
from models.training.forecaster_loss import likelihood_loss, rollout_loss
from models.training.forecaster_validation import Figures, Validation
from models.training.run import cosine, load_state, save_state, stop_requests
from models.training.tracks import Tracks, load_tracks, split_by_person
from shared.errors import KeycastError, RequestError

INTERRUPTED = 130
WARMUP = 0.05
CLIP = 1.0
HELD_OUT = 0.15
SAVE_SECONDS = 20.0


@dataclass(frozen=True)
class Settings:
    """What a run is made of; a run is resumed only with the same.

    `steps` or `minutes` (the other is None) is its length; `rollout` weighs the error of free running against
    the likelihood.
    """

    model: str
    config: NetworkConfig
    steps: int | None
    minutes: float | None
    batch: int = 64
    rate: float = 1e-3
    rollout: float = 0.1
    seed: int = 0

    def stored(self, tracks: Tracks) -> dict[str, Any]:
        """Return the settings and the data as plain values."""
        return {**asdict(self), "tracks": digest(tracks)}


class Training:
    """One run: network, optimiser, random numbers, and the best weights so far."""

    def __init__(self, settings: Settings, tracks: Tracks, device: torch.device) -> None:
        self.settings = settings
        self.step = 0
        self.seconds = 0.0
        self.best = float("inf")
        self.stale = 0
        self._stored = settings.stored(tracks)
        self._device = device
        self._generator = torch.Generator().manual_seed(settings.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.network = build_network(settings.config)
        fit(self.network.scaling, tracks)
        self.network.to(device).train()
        self.best_weights = self._weights()
        self._optimiser = torch.optim.AdamW(self.network.parameters(), settings.rate, weight_decay=1e-2)
        self._windows = Windows(tracks)

    @property
    def done(self) -> float:
        """Which part of the run is behind us, in [0, 1]."""
        if self.settings.steps is not None:
            return min(1.0, self.step / self.settings.steps)
        return min(1.0, self.seconds / (60 * (self.settings.minutes or 1.0)))

    def advance(self) -> dict[str, float]:
        """Take one optimiser step and return its losses, per number."""
        began = time.monotonic()
        frames, split = self._windows.draw(self.settings.batch, self._generator)
        frames = frames.to(self._device)
        likelihood, state = likelihood_loss(self.network, frames, split, self._generator)
        rollout = rollout_loss(self.network, state, frames[:, split:])
        self._optimiser.zero_grad(set_to_none=True)
        (likelihood + self.settings.rollout * rollout).backward()  # type: ignore[no-untyped-call]
        for group in self._optimiser.param_groups:
            group["lr"] = self.settings.rate * cosine(self.done, WARMUP)
        if torch.isfinite(nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)):
            self._optimiser.step()
        self.step += 1
        self.seconds += time.monotonic() - began
        return {"likelihood": float(likelihood.detach()), "rollout": float(rollout.detach())}

    def judge(self, score: float) -> bool:
        """Keep the weights if `score` is the lowest so far, and say whether it is."""
        better = score < self.best
        self.stale = 0 if better else self.stale + 1
        if better:
            self.best, self.best_weights = score, self._weights()
        return better

    def state(self) -> dict[str, Any]:
        """Return all that it takes to go on as if nothing had happened."""
        return {
            "settings": self._stored,
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "generator": self._generator.get_state(),
            "best_weights": self.best_weights,
            "numbers": {"step": self.step, "seconds": self.seconds, "best": self.best, "stale": self.stale},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`; RequestError if it is of other settings, other tracks, or damaged."""
        if state.get("settings") != self._stored:
            raise RequestError(
                "the output folder holds a run of other settings or tracks: give another --output"
            )
        try:
            self.network.load_state_dict(state["network"])
            self._optimiser.load_state_dict(state["optimiser"])
            self._generator.set_state(state["generator"])
            self.best_weights = dict(state["best_weights"])
            numbers = state["numbers"]
            self.step, self.seconds = int(numbers["step"]), float(numbers["seconds"])
            self.best, self.stale = float(numbers["best"]), int(numbers["stale"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise RequestError(f"the saved run is damaged ({error}): delete it to start afresh") from error

    def _weights(self) -> dict[str, Tensor]:
        return copy.deepcopy({key: value.detach().cpu() for key, value in self.network.state_dict().items()})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("--model", choices=sorted(PRESETS), required=True)
    parser.add_argument("--tracks", type=Path, required=True, help="folder of keypoint tracks (.npz)")
    parser.add_argument(
        "--validate", type=Path, help="tracks of other people (default: hold some people out)"
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="the run lives here; the result in weights/"
    )
    parser.add_argument("--config", choices=("call", "paper"), default="call")
    parser.add_argument("--predict", choices=("delta", "frame"), default="delta")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=_positive_int)
    length.add_argument("--minutes", type=_positive_float, help="default: 8")
    parser.add_argument("--batch", type=_positive_int, default=64)
    parser.add_argument("--rate", type=_positive_float, default=1e-3, help="highest learning rate")
    parser.add_argument("--rollout-weight", type=_weight, default=0.1)
    parser.add_argument("--every", type=_positive_int, default=100, help="steps between validations")
    parser.add_argument("--patience", type=_positive_int, default=40, help="validations without a new best")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=_positive_int, default=1)


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
    tracks = load_tracks(options.tracks)
    if options.validate is None:
        tracks, others = split_by_person(tracks, HELD_OUT, seed=0)
    else:
        others = load_tracks(options.validate)
    if others.tracks_of != tracks.tracks_of:
        raise RequestError(
            "training and validation tracks come from different detectors: extract both with one"
        )
    validation = Validation(others)
    run = _start(options, tracks)
    print(f"{len(tracks.clips)} clips, {tracks.frames} frames; validation {len(validation.past)} windows")
    print(f"hold    {validation.hold}\ndamped  {validation.damped}", flush=True)
    try:
        with stop_requests() as stops:
            _loop(run, validation, options, tracks.tracks_of, stops)
    except OSError as error:
        raise KeycastError(f"the run could not be saved ({error}): free some space and repeat it") from error
    _export(run, options, tracks.tracks_of)
    print(f"best {run.best:.3f} of hold; weights in {options.output / 'weights'}")
    if stops:
        print(f"stopped at step {run.step}: the same command goes on")
        return INTERRUPTED
    return 0


def _start(options: argparse.Namespace, tracks: Tracks) -> Training:
    config = PRESETS[options.model][options.config]
    config = type(config)(**{**asdict(config), "predict": options.predict})
    minutes = 8.0 if options.steps is None and options.minutes is None else options.minutes
    settings = Settings(
        options.model,
        config,
        options.steps,
        minutes,
        options.batch,
        options.rate,
        options.rollout_weight,
        options.seed,
    )
    run = Training(settings, tracks, _device(options.device))
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"cannot write to {options.output} ({error}): give another --output") from error
    earlier = load_state(options.output / "state.pt")
    if earlier is not None:
        run.restore(earlier)
        print(f"going on at step {run.step}")
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


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise RequestError("there is no CUDA device here: use --device cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _weight(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be at least 0, not {value}")
    return value


def _positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def _positive_float(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be over 0, not {value}")
    return value
