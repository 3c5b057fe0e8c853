"""Subjects of `bench throughput`: each network in each way of running it, with the arithmetic it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from bench.harness.metrics import operations, parameters
from bench.throughput.published_subjects import (
    load_or_untrained_nth,
    load_or_untrained_tps,
    nth_subjects,
    tps_subjects,
)  # fmt: skip
from bench.throughput.subject import LATENCY_FRAMES, PLAIN_CPU_FRAMES, Subject
from models.build import SHIPPED, load_backbone, load_stages
from models.fomm import keypoint_detector as fomm_points
from models.fomm.backbone import FommBackbone
from models.fomm.model import Fomm, load_fomm
from models.fomm.plain import PlainFomm, untrained_fomm
from models.fomm.serving import Precision, ServedFomm
from models.forecast.build import load_forecaster
from models.forecast.config import PRESETS, build_network
from models.forecast.names import NAMES, PLAIN
from models.forecast.networks import load_network as load_forecast_network
from models.forecast.neural import NeuralForecaster
from models.forecast.recurrent import ForecastNetwork, State
from models.inference import prepare
from models.lite.backbone import LiteBackbone
from models.lite.layout import LAYOUT
from models.lite.network import LiteNetwork, Points
from models.lite.torch_engine import load_network
from shared.constants import SIZE
from shared.errors import RequestError
from shared.interfaces import Forecaster

FOMM_CPU_LATENCY_FRAMES = 12
# Frames forecast in one go, as the paper's schedule skips them.
_BLOCK = 6


@dataclass(frozen=True)
class Forecasting:
    """A forecaster, what one forecast frame costs, and whether its weights are trained."""

    forecaster: Forecaster
    macs: int
    trained: bool


def subjects(name: str, path: Path | None, device: str, frames: int, seed: int) -> Iterator[Subject]:
    """Describe the backbone `name` in each way of running it that is worth comparing."""
    if name == "fomm":
        return fomm_subjects(load_or_untrained_fomm(path, seed), device, frames, path is not None)
    if name == "tps":
        return tps_subjects(load_or_untrained_tps(path, seed), device, frames, path is not None)
    if name == "nth":
        return nth_subjects(load_or_untrained_nth(path, seed), device, frames, path is not None)
    return (
        lite_subjects(path, device, frames) if name == "lite" else served_subjects(name, path, device, frames)
    )


def served_subjects(name: str, path: Path | None, device: str, frames: int) -> Iterator[Subject]:
    """Describe any backbone as it runs in a call; operations are counted on its stages in torch."""
    backbone, stages = load_backbone(name, path, device), load_stages(name, path)
    picture = torch.zeros(1, 3, stages.size, stages.size)
    with torch.no_grad():
        source = dict(zip(stages.source, stages.encode(picture), strict=True))
    yield Subject(
        name, backbone.engine, backbone.precision, backbone, parameters(stages.render),
        operations(stages.detect, stages.detect, picture),
        operations(stages.render, lambda x: stages.render(*source.values(), x), source["points"]),
        trained=True, frames=frames, latency_frames=LATENCY_FRAMES,
    )  # fmt: skip


def lite_subjects(path: Path | None, device: str, frames: int) -> Iterator[Subject]:
    """Describe the lite network as it runs in a call, and in torch where that is not the same."""
    folder = path or SHIPPED / "lite"
    network = load_network(folder)
    usual = LiteBackbone.load(folder, device)
    yield lite_subject(usual, network, frames)
    if usual.engine != "torch":
        yield lite_subject(LiteBackbone.load(folder, device, engine="torch"), network, frames)


def lite_subject(backbone: LiteBackbone, network: LiteNetwork, frames: int) -> Subject:
    """Describe a lite network that is loaded; operations are counted on `network`, its form in torch."""
    network = prepare(network)
    picture = torch.zeros(1, 3, SIZE, SIZE)
    with torch.no_grad():
        source = network.encode(picture)
    return Subject(
        "lite", backbone.engine, backbone.precision, backbone, parameters(network),
        operations(network, lambda x: network.detector(x).flat(), picture),
        operations(network, lambda x: network.render(source, Points.from_flat(x)), source.points),
        trained=True, frames=frames, latency_frames=LATENCY_FRAMES,
    )  # fmt: skip


def fomm_subjects(model: Fomm, device: str, frames: int, trained: bool = True) -> Iterator[Subject]:
    """Describe the full network as published, then as it runs in a call."""
    few = device == "cpu"
    plain = PlainFomm(model, device)
    yield Subject(
        "fomm", "plain", "float32", plain,
        parameters(model), *_fomm_cost(model, _published(model)),
        trained, PLAIN_CPU_FRAMES if few else frames, PLAIN_CPU_FRAMES if few else LATENCY_FRAMES,
    )  # fmt: skip
    fast = FommBackbone(model, device, "auto")
    yield Subject(
        "fomm", "torch", fast.precision, fast,
        parameters(model), *_served_cost(model, device, fast.precision),
        trained, frames, FOMM_CPU_LATENCY_FRAMES if few else LATENCY_FRAMES,
    )  # fmt: skip


def _fomm_cost(model: Fomm | ServedFomm, draw: Callable[[Tensor], Tensor]) -> tuple[int, int]:
    """Return the multiply-accumulates of a detection and of a frame that `draw` draws."""
    weight = next(model.parameters())
    picture = torch.zeros(1, 3, SIZE, SIZE, device=weight.device)
    with torch.no_grad():
        points = torch.zeros_like(model.kp_detector(picture).flat())
    detect = operations(model, lambda x: model.kp_detector(x).flat(), picture)
    return detect, operations(model, draw, points)


def _published(model: Fomm) -> Callable[[Tensor], Tensor]:
    """Return the published drawing of one frame, source and all."""
    weight = next(model.parameters())
    picture = torch.zeros(1, 3, SIZE, SIZE, device=weight.device)
    with torch.no_grad():
        flat = torch.zeros_like(model.kp_detector(picture).flat())
    source = fomm_points.Points.from_flat(flat)

    def draw(flat: Tensor) -> Tensor:
        rendered: Tensor = model.generator(picture, source, fomm_points.Points.from_flat(flat)).prediction
        return rendered

    return draw


def _served_cost(model: Fomm, device: str, precision: str) -> tuple[int, int]:
    """Return the multiply-accumulates of a detection, and of a frame whose source was encoded before.

    The counter does not see packed weights, so it counts on a copy without. Where residual blocks run by
    Winograd's way, all of its products are counted.
    """
    served = ServedFomm(model, device, cast(Precision, precision))
    picture = torch.zeros(1, 3, SIZE, SIZE, device=device)
    with torch.no_grad():
        source = fomm_points.Points.from_flat(torch.zeros_like(served.kp_detector(picture).flat()))
        state = served.generator.encode_source(picture, source)

    def draw(flat: Tensor) -> Tensor:
        return served.generator.decode(state, fomm_points.Points.from_flat(flat)).prediction

    return _fomm_cost(served, draw)


class Memory:
    """The memory that a GPU's tensors take beyond what they take now; on a CPU it is not counted.

    What was there only in between, such as a copy whose operations were counted, is left out by `begin`.
    """

    def __init__(self, device: str) -> None:
        self._counted = device == "cuda"
        if self._counted:
            self._before = torch.cuda.memory_allocated()
        self.begin()

    def begin(self) -> None:
        """Look for the most there is from now on."""
        if self._counted:
            torch.cuda.reset_peak_memory_stats()

    def peak_mb(self) -> float | None:
        """Return the most there was since, in megabytes (10^6 bytes)."""
        return (torch.cuda.max_memory_allocated() - self._before) / 1e6 if self._counted else None


def load_or_untrained_fomm(path: Path | None, seed: int) -> Fomm:
    """Load a checkpoint, or build random weights where no path is given."""
    return untrained_fomm(seed) if path is None else load_fomm(path)


def forecasting(
    name: str, device: str, seed: int, dimensions: int = LAYOUT.dimensions, folder: Path | None = None
) -> Forecasting:
    """Return the forecaster `name` with the weights in `folder`, by default those that are shipped.

    Those are for the 60 numbers of the lite network's keypoints; for frames of other sizes it is random.
    Raises RequestError for an unknown name, and for weights that do not fit.
    """
    if name in PLAIN:
        return Forecasting(load_forecaster(name), 0, trained=True)
    if name not in NAMES:
        raise RequestError(f"There is no forecaster {name!r}; choose from: {', '.join(NAMES)}.")
    if folder is None and dimensions == LAYOUT.dimensions:
        folder = SHIPPED / name
    if folder is not None and (folder / "config.json").is_file():
        # As a call runs it; its network in torch is for counting.
        macs = _forecast_macs(load_forecast_network(name, folder), device)
        return Forecasting(load_forecaster(name, folder, device=device), macs, trained=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(PRESETS[name]["call"], dimensions)
    macs = _forecast_macs(network, device)
    return Forecasting(NeuralForecaster(name, network, device), macs, trained=False)


def _forecast_macs(network: ForecastNetwork, device: str) -> int:
    """Return the multiply-accumulates of a forecast frame, the mean over a block of six."""
    network = network.to(device).eval()
    with torch.no_grad():
        frame = torch.zeros(1, network.dimensions, device=device)
        state = network.absorb(None, frame[None])
    return operations(network, lambda *x: network.rollout(State(*x), _BLOCK), *state) // _BLOCK
