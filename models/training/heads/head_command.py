"""The command that trains the head finder, on a CPU in the background, and measures what it finds."""

from __future__ import annotations

import argparse
import copy
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models import checkpoint
from models.head.finder import MODEL, peaks
from models.head.network import STRIDE, UNIT, HeadConfig, HeadNetwork
from models.training.backbones.backbone_run import follow
from models.training.heads.head_faces import Labeller, load_faces
from models.training.heads.head_scenes import SHAPES, Scene, Scenes
from models.training.run import (
    cosine,
    load_state,
    positive_float,
    positive_int,
    save_state,
    stop_requests,
)  # fmt: skip
from shared.errors import KeycastError, RequestError

INTERRUPTED = 130
SAVE_SECONDS = 30.0
_BETA, _ALPHA = 4, 2
_SIZE_WEIGHT, _PLACE_WEIGHT = 1.0, 0.5
_WARMUP = 0.03
# How far around a face's centre, in sizes, cells are to know where and how large it is.
_KNOWS = 0.22
_SPREAD = 0.13


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    add = parser.add_argument
    add("--clips", type=Path, nargs="+", required=True, help="folders of clips of one person each")
    add("--validate", type=Path, nargs="+", required=True, help="the same, of other people, to validate on")
    add("--stills", type=Path, help="a folder of portraits (JPEG)")
    add(
        "--faces",
        type=Path,
        required=True,
        metavar="FILE",
        help="YuNet, face_detection_yunet.onnx, to label faces",
    )
    add(
        "--output",
        type=Path,
        default=Path("runs/head"),
        help="folder for the run, with the result in weights/",
    )
    add("--steps", type=positive_int, default=6000)
    add("--batch", type=positive_int, default=48)
    add("--rate", type=positive_float, default=3e-3, help="highest learning rate")
    add("--every", type=positive_int, default=500, help="steps between validations")
    add("--seed", type=int, default=0)
    add("--threads", type=positive_int, default=1)


def train(options: argparse.Namespace) -> int:
    """Train, or go on training, and leave the averaged weights in `options.output`/weights.

    Returns 0, or 130 if Ctrl-C or SIGTERM ended the run early: the same command then goes on with it.
    """
    torch.set_num_threads(options.threads)
    _make(options.output)
    labeller = Labeller(options.faces)
    scenes = Scenes(load_faces(options.clips, options.stills, labeller, options.output))
    others = Scenes(load_faces(options.validate, None, labeller, options.output))
    run = Run.begin(options)
    saved = monotonic()
    with stop_requests() as stops:
        while run.step < options.steps and not stops:
            loss = run.advance(scenes, options)
            if run.step % options.every == 0 or run.step == options.steps:
                print(f"step {run.step}  loss {loss:.3f}  {measure(run.average, others)}", flush=True)
                _keep(run.average, options.output / "weights")
            if monotonic() - saved > SAVE_SECONDS:
                save_state(options.output / "state.pt", run.state())
                saved = monotonic()
    save_state(options.output / "state.pt", run.state())
    _keep(run.average, options.output / "weights")
    if stops:
        print(f"stopped at step {run.step}: run the same command to continue")
        return INTERRUPTED
    print(f"the weights are in {options.output / 'weights'}")
    return 0


def _keep(network: HeadNetwork, folder: Path) -> None:
    checkpoint.save(folder, network.state_dict(), {"model": MODEL, **network.config.to_map()})


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"Cannot write to {folder} ({error}); choose another --output.") from error


@dataclass
class Run:
    """Everything that changes while training; `average` follows `network` slowly and is what is kept."""

    network: HeadNetwork
    average: HeadNetwork
    optimiser: torch.optim.Optimizer
    step: int = 0

    @classmethod
    def begin(cls, options: argparse.Namespace) -> Run:
        """Return a new run, or the one that `options.output` holds; RequestError where that is damaged."""
        torch.manual_seed(options.seed)
        network = HeadNetwork(HeadConfig())
        optimiser = torch.optim.AdamW(network.parameters(), lr=options.rate, weight_decay=1e-3)
        run = cls(network, copy.deepcopy(network).eval(), optimiser)
        path = options.output / "state.pt"
        state = load_state(path)
        if state is not None:
            try:
                run.network.load_state_dict(state["network"])
                run.average.load_state_dict(state["average"])
                run.optimiser.load_state_dict(state["optimiser"])
                run.step = int(state["step"])
            except (KeyError, TypeError, ValueError, RuntimeError) as error:
                raise RequestError(f"The saved run {path} is damaged; delete it to start over.") from error
        return run

    def state(self) -> dict[str, Any]:
        """Return all that it takes to go on."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
        }

    def advance(self, scenes: Scenes, options: argparse.Namespace) -> float:
        """Take one step; its scenes depend on seed and step alone. Return the loss."""
        random = np.random.default_rng((options.seed, self.step))
        shape = SHAPES[int(random.choice(len(SHAPES), p=(0.5, 0.25, 0.15, 0.1)))]
        batch = [scenes.make(shape, random) for _ in range(options.batch)]
        for group in self.optimiser.param_groups:
            group["lr"] = options.rate * cosine(self.step / options.steps, _WARMUP)
        self.network.train()
        loss = loss_of(self.network(tensor_of(batch)), batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if not torch.isfinite(torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)):
            raise KeycastError(f"The training diverged at step {self.step}; try again with a lower --rate.")
        self.optimiser.step()
        self.step += 1
        follow(self.average, self.network, min(0.998, (1 + self.step) / (10 + self.step)))
        return float(loss.detach())


def tensor_of(scenes: list[Scene]) -> Tensor:
    """Return the pictures (B, 3, H, W) in [0, 1]."""
    stacked = np.stack([scene.picture for scene in scenes])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float().div(255)


def loss_of(cells: Tensor, scenes: list[Scene]) -> Tensor:
    """Return CenterNet's loss of `cells` (B, 4, h, w): focal of the centres, L1 of places and sizes."""
    heat, places, known = targets(scenes, (cells.shape[2], cells.shape[3]))
    logits = cells[:, 0]
    sure = torch.sigmoid(logits)
    is_centre = heat == 1
    hits = is_centre * (1 - sure) ** _ALPHA * F.softplus(-logits)
    misses = ~is_centre * (1 - heat) ** _BETA * sure**_ALPHA * F.softplus(logits)
    centres = (hits.sum() + misses.sum()) / is_centre.sum().clamp(min=1)
    off = (cells[:, 1:] - places).abs() * known[:, None]
    place, size = off[:, :2].sum(), off[:, 2].sum()
    return centres + (_PLACE_WEIGHT * place + _SIZE_WEIGHT * size) / known.sum().clamp(min=1)


def targets(scenes: list[Scene], grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the cells should say: heat (B, h, w), places and sizes (B, 3, h, w), and where (B, h, w).

    Heat is 1 in the cell that holds a face's centre and falls off as a Gaussian around it.
    """
    rows, columns = np.mgrid[: grid[0], : grid[1]].astype(np.float32) + 0.5
    heat = np.zeros((len(scenes), *grid), np.float32)
    places = np.zeros((len(scenes), 3, *grid), np.float32)
    known = np.zeros((len(scenes), *grid), np.float32)
    for index, scene in enumerate(scenes):
        for x, y, size in scene.faces:
            across, down = x / STRIDE - columns, y / STRIDE - rows
            far = np.hypot(across, down) * STRIDE / size
            sigma = max(_SPREAD, 0.6 * STRIDE / size / 2)
            heat[index] = np.maximum(heat[index], np.exp(-(far**2) / (2 * sigma**2)))
            row = int(np.clip(y / STRIDE, 0, grid[0] - 1))
            column = int(np.clip(x / STRIDE, 0, grid[1] - 1))
            heat[index, row, column] = 1
            near = far < _KNOWS
            near[row, column] = True
            places[index][:, near] = np.stack([across, down, np.full_like(far, np.log(size / UNIT))])[:, near]
            known[index][near] = 1
    return torch.from_numpy(heat), torch.from_numpy(places), torch.from_numpy(known)


@dataclass(frozen=True)
class Figures:
    """Of scenes of other people: shares of faces found and of findings that are none; errors in sizes."""

    found: float
    false: float
    centre: float
    size: float

    def __str__(self) -> str:
        return (
            f"found {self.found:.3f}  false {self.false:.3f}  "
            f"centre off {self.centre:.3f}  size off {self.size:.3f} (medians, in sizes)"
        )


@torch.no_grad()
def measure(network: HeadNetwork, scenes: Scenes, count: int = 512) -> Figures:
    """Measure on `count` scenes, always the same; a face is found where a peak lies within half its size."""
    network.eval()
    random = np.random.default_rng(12345)
    found = faces = findings = 0
    centre, size = [], []
    for _ in range(count // 32):
        batch = [scenes.make(SHAPES[0], random) for _ in range(32)]
        for scene, heads in zip(batch, peaks(network(tensor_of(batch))), strict=True):
            findings += len(heads)
            faces += len(scene.faces)
            for x, y, extent in scene.faces:
                off = [(np.hypot(h[0] - x, h[1] - y) / extent, abs(h[2] / extent - 1)) for h in heads]
                nearest = min(off, default=(1.0, 1.0))
                if nearest[0] < 0.5:
                    found += 1
                    centre.append(nearest[0])
                    size.append(nearest[1])
    return Figures(
        found / max(faces, 1),
        (findings - found) / max(findings, 1),
        float(np.median(centre)) if centre else 1.0,
        float(np.median(size)) if size else 1.0,
    )
