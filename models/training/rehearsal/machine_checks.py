"""Checks of a machine before it is trusted: each computes, compares, and gives figures."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from models.build import SHIPPED
from models.devices import device_facts
from models.facade import EngineBackbone
from models.fomm.backbone import FommBackbone
from models.fomm.model import load_fomm
from models.fomm.plain import untrained_fomm
from models.forecast.build import load_forecaster
from models.forecast.names import LEARNED
from models.inference import compute_exactly
from models.landmarks.landmark_files import save_canonical, save_clip
from models.landmarks.points import COUNT as LANDMARKS
from models.lite.backbone import LiteBackbone
from models.lite.torch_engine import LiteTorchEngine, load_network
from models.torch_engine import TorchEngine
from models.training.backbones import backbone_command
from models.training.backbones.recipes import LiteRecipe
from models.training.data.drawn_motion import motion
from shared.constants import SIZE
from shared.errors import KeycastError
from shared.keypoints import Pictures
from shared.portrait.looks import Looks
from shared.portrait.portrait import Portrait, landmarks_with_depth
from shared.portrait.pose import Pose

NetworkT = TypeVar("NetworkT", bound=EngineBackbone)
Figures = Mapping[str, str | int | float]
# Of keypoints in [-1, 1], pixels in levels, forecast numbers: what other orders of addition make of them.
_KEYPOINT, _LEVELS, _FORECAST = 1e-4, 2, 1e-3
# What half precision may do to a frame, as a share of 255 levels: the largest and the mean.
_HALF, _HALF_MEAN = 0.1, 0.004
_FRAMES, _GPU_SINGLES, _CPU_SINGLES = 6, 300, 10
_GPU_BATCHES, _CPU_BATCHES = (12, 48, 128, 192), (4,)
_GPU_STEPS, _CPU_STEPS = 15, 2


class DiffersError(KeycastError):
    """A machine computes something else than a CPU does."""


@dataclass
class Machine:
    """The device that is looked at, the pictures it is shown, and the full network's weights, if any."""

    device: str
    fomm: Path | None = None

    @property
    def has_gpu(self) -> bool:
        """Whether it is a GPU."""
        return self.device == "cuda"

    @cached_property
    def pictures(self) -> Pictures:
        """Frames of a drawn person who moves (6, 256, 256, 3)."""
        portrait = Portrait()
        return np.stack([portrait.draw(pose) for pose in motion(np.random.default_rng(0), _FRAMES, 8)])

    @cached_property
    def lite(self) -> LiteBackbone:
        """The shipped network in torch on the device, warm."""
        return _warm(LiteBackbone.load(SHIPPED / "lite", self.device, "float32", "torch"))

    @cached_property
    def full(self) -> FommBackbone:
        """The full network on the device, in the precision that is chosen there, warm."""
        model = untrained_fomm() if self.fomm is None else load_fomm(self.fomm)
        return _warm(FommBackbone(model, self.device, "auto"))


def facts(machine: Machine) -> Figures:
    """Name the device and what drives it."""
    return dict(device_facts(machine.device))


def same_as_cpu(machine: Machine) -> Figures:
    """Compare the shipped network's keypoints and frames with those that a CPU computes in float32."""
    here, there = machine.lite, LiteBackbone.load(SHIPPED / "lite", "cpu", "float32", "torch")
    pictures = machine.pictures
    found, wanted = here.detect(pictures), there.detect(pictures)
    figures = {"keypoint_error": _apart(found, wanted)}
    drawn = [net.render(net.encode(pictures[0]), wanted) for net in (here, there)]
    figures["pixel_error_levels"] = _apart(*drawn)
    if machine.has_gpu:
        with _tf32():
            rounded = LiteTorchEngine(load_network(SHIPPED / "lite"), machine.device)
            torch.backends.cudnn.allow_tf32 = True
            figures["keypoint_error_in_tf32"] = _apart(rounded.detect(pictures), wanted)
    _must(figures["keypoint_error"] <= _KEYPOINT, "its keypoints are not a CPU's", figures)
    _must(figures["pixel_error_levels"] <= _LEVELS, "its frames are not a CPU's", figures)
    return figures


def singles_are_batches(machine: Machine) -> Figures:
    """Compare frames one by one, which a GPU replays from a recording, with the same ones in a batch."""
    network, pictures = machine.lite, machine.pictures
    source, keypoints = network.encode(pictures[0]), network.detect(pictures)
    singly = np.concatenate([network.render(source, row[None]) for row in keypoints])
    engine = network._engine
    recorded = isinstance(engine, TorchEngine) and engine.is_recorded
    figures = {"pixel_error_levels": _apart(singly, network.render(source, keypoints)), "recorded": recorded}
    _must(figures["pixel_error_levels"] <= _LEVELS, "single frames are not those of a batch", figures)
    _must(recorded or not machine.has_gpu, "no CUDA graph could be recorded", figures)
    return figures


def lite_speed(machine: Machine) -> Figures:
    """Time single frames of the shipped network; on a GPU in both layouts of memory."""
    figures = _speed(machine.lite, machine)
    if machine.has_gpu:
        engine = LiteTorchEngine(load_network(SHIPPED / "lite"), machine.device)
        engine.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        planes = _warm(LiteBackbone(engine))
        figures["channels_first_fps"] = _speed(planes, machine)["stream_fps"]
    return figures


def full_network(machine: Machine) -> Figures:
    """Compare the full network's frame, in the precision chosen, with float32; time single frames."""
    network = machine.full
    engine = network._engine
    exact = FommBackbone(
        untrained_fomm() if machine.fomm is None else load_fomm(machine.fomm), machine.device, "float32"
    )
    pictures = machine.pictures[:2]
    keypoints = exact.detect(pictures)
    drawn = [net.render(net.encode(pictures[0]), keypoints).astype(np.float32) for net in (network, exact)]
    off = np.abs(drawn[0] - drawn[1]) / 255
    figures: dict[str, str | int | float] = {
        "precision": engine.precision, "pixel_error": float(off.max()), "mean_error": float(off.mean()),
    }  # fmt: skip
    _must(off.max() <= _HALF and off.mean() <= _HALF_MEAN, "its frames are not those of float32", figures)
    return {**figures, **_speed(network, machine)}


def forecasts(machine: Machine) -> Figures:
    """Compare what each shipped forecaster predicts in torch on the device with what NumPy computes."""
    track = machine.lite.detect(machine.pictures)
    figures = {}
    for name in LEARNED:
        if not (SHIPPED / name / "config.json").is_file():
            continue
        futures = []
        for network in (load_forecaster(name), load_forecaster(name, device=machine.device)):
            network.observe(track)
            futures.append(network.forecast(_FRAMES))
        figures[f"{name}_error"] = _apart(*futures)
    _must(max(figures.values(), default=0.0) <= _FORECAST, "its forecasts are not NumPy's", figures)
    return figures


def training_steps(machine: Machine) -> Figures:
    """Take training steps of the lite network in batches of several sizes; say how many pictures per second.

    A size that finds no memory is said to.
    """
    figures: dict[str, str | int | float] = {}
    for size in _GPU_BATCHES if machine.has_gpu else _CPU_BATCHES:
        try:
            figures[f"batch_{size}_pictures_per_s"] = _trained(size, machine)
        except torch.OutOfMemoryError:
            figures[f"batch_{size}_pictures_per_s"] = "out of memory"
    return figures


CHECKS: tuple[Callable[[Machine], Figures], ...] = (
    facts, same_as_cpu, singles_are_batches, lite_speed, forecasts, full_network, training_steps,
)  # fmt: skip


def training_line(device: str, *more: str) -> argparse.Namespace:
    """Return the options of `models.training backbone` as a rehearsal trains: in bfloat16 where a GPU can."""
    parser = argparse.ArgumentParser()
    backbone_command.add_arguments(parser)
    half = ["--bf16"] if device == "cuda" and torch.cuda.is_bf16_supported() else []
    return parser.parse_args(["--device", device, *half, *more])


def _trained(size: int, machine: Machine) -> float:
    """Return the pictures per second of some steps, with landmarks, after two that are not counted."""
    options = training_line(machine.device, "--clips", "none", "--batch", str(size), "--minutes", "1")
    options.rate = 1e-4
    with tempfile.TemporaryDirectory() as folder:
        face = np.asarray(landmarks_with_depth(Looks(), Pose()), np.float32)
        save_clip(Path(folder, "drawn.npz"), "drawn.mp4", face[None, :, :2])
        save_canonical(Path(folder), face)
        options.landmarks = [Path(folder)]
        recipe, device = LiteRecipe(options), torch.device(machine.device)
        run, objective = recipe.start(device, 1)
    sources = max(1, size // recipe.drivings)
    shape = (sources, 1 + recipe.drivings, 3, SIZE, SIZE)
    pictures = torch.randint(256, shape, dtype=torch.uint8, device=device)
    faces = torch.zeros(sources, 1 + recipe.drivings, LANDMARKS, 2, device=device)
    batch: tuple[Tensor, Tensor, Tensor] = (pictures[:, 0], pictures[:, 1:], faces)
    windows = torch.Generator().manual_seed(0)
    steps = _GPU_STEPS if machine.has_gpu else _CPU_STEPS
    began = 0.0
    for step in range(2 + steps):
        if step == 2:
            _wait(machine)
            began = time.perf_counter()
        run.advance(objective, batch, recipe.window(0.0, windows), recipe.autocast)
    _wait(machine)
    return steps * sources * recipe.drivings / (time.perf_counter() - began)


def _speed(network: EngineBackbone, machine: Machine) -> dict[str, str | int | float]:
    """Time single frames: each is detected, and rendered at what was found."""
    pictures = machine.pictures
    source, detect, render = network.encode(pictures[0]), list[float](), list[float]()
    if machine.has_gpu:
        torch.cuda.reset_peak_memory_stats()
    for index in range(_GPU_SINGLES if machine.has_gpu else _CPU_SINGLES):
        began = time.perf_counter()
        keypoints = network.detect(pictures[index % len(pictures)][None])
        found = time.perf_counter()
        network.render(source, keypoints)
        detect.append(1000 * (found - began))
        render.append(1000 * (time.perf_counter() - found))
    figures: dict[str, str | int | float] = {"stream_fps": 1000 / statistics.median(render)}
    for name, times in (("detect", detect), ("render", render)):
        for percent in (50, 95):
            figures[f"{name}_p{percent}_ms"] = float(np.percentile(times, percent))
    if machine.has_gpu:
        figures["peak_memory_mb"] = torch.cuda.max_memory_allocated() / 1e6
    return figures


def _warm(network: NetworkT) -> NetworkT:
    network.warmup()
    return network


def _wait(machine: Machine) -> None:
    if machine.has_gpu:
        torch.cuda.synchronize()


@contextmanager
def _tf32() -> Iterator[None]:
    """Have float32 computed exactly again at the end of the block, whatever happens in it."""
    try:
        yield
    finally:
        compute_exactly()


def _apart(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Return the largest difference; that of what is no number is infinite."""
    off = np.abs(one.astype(np.float64) - other)
    return float(np.where(np.isfinite(off), off, np.inf).max())


def _must(holds: bool, what: str, figures: Figures) -> None:
    if not holds:
        raise DiffersError(f"{what} ({shown(figures)})")


def shown(figures: Figures) -> str:
    """Return figures in a line."""
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in figures.items()
    )
