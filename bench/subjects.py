"""What `bench throughput` measures: each network in each way of running it, with the arithmetic it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bench.metrics import operations, parameters
from models.build import SHIPPED
from models.checkpoint import load
from models.fomm import keypoint_detector as fomm_points
from models.fomm.backbone import FommBackbone
from models.fomm.model import Fomm, load_fomm
from models.fomm.plain import PlainFomm, untrained_fomm
from models.forecast.baselines import Damped, Hold
from models.forecast.build import restore
from models.forecast.config import PRESETS, build_network
from models.forecast.neural import NeuralForecaster
from models.forecast.recurrent import RecurrentNetwork, State
from models.lite.backbone import LiteBackbone
from models.lite.network import Points
from shared.config import SIZE
from shared.errors import RequestError
from shared.interfaces import Backbone, Forecaster
from shared.keypoints import DIMENSIONS

# A round of 36 frames of the plain full network takes about a minute on a CPU: these few are scaled instead.
PLAIN_CPU_FRAMES = 2


@dataclass(frozen=True)
class Subject:
    """One way of running one network; multiply-accumulates are per frame, `frames` what one run measures."""

    backbone: str
    engine: str
    precision: str
    facade: Backbone
    parameters: int
    macs_detect: int
    macs_render: int
    trained: bool
    frames: int
    runs: int


@dataclass(frozen=True)
class Forecasting:
    """A forecaster, what one forecast frame costs, and whether its weights are trained."""

    forecaster: Forecaster
    macs: int
    trained: bool


def lite_subject(backbone: LiteBackbone, frames: int, runs: int) -> Subject:
    """Describe the lite network as it runs in a call."""
    network = backbone.network
    picture = torch.zeros(1, 3, SIZE, SIZE, device=backbone.device)
    with torch.no_grad():
        source = network.encode(picture)
    return Subject(
        "lite", "torch", backbone.precision, backbone, parameters(network),
        operations(network, lambda x: network.detector(x).flat(), picture),
        operations(network, lambda x: network.render(source, Points.from_flat(x)), source.points.flat()),
        trained=True, frames=frames, runs=runs,
    )  # fmt: skip


def fomm_subjects(
    model: Fomm, device: str, frames: int, runs: int, trained: bool = True
) -> Iterator[Subject]:
    """Describe the full network as published, then as it runs in a call."""
    plain = PlainFomm(model, device)
    few = (PLAIN_CPU_FRAMES, 1) if device == "cpu" else (frames, runs)
    yield Subject(
        "fomm", "plain", _precision(plain.model), plain, *_fomm_cost(plain.model, _published(plain.model)),
        trained, *few,
    )  # fmt: skip
    fast = FommBackbone(model, device)
    yield Subject(
        "fomm", "torch", _precision(fast.model), fast, *_fomm_cost(fast.model, _cached(fast)),
        trained, frames, runs,
    )  # fmt: skip


def _precision(model: Fomm) -> str:
    return str(next(model.parameters()).dtype).removeprefix("torch.")


def _fomm_cost(model: Fomm, draw: Callable[[Tensor], Tensor]) -> tuple[int, int, int]:
    """Return parameters, and multiply-accumulates of a detection and of a frame that `draw` draws."""
    weight = next(model.parameters())
    picture = torch.zeros(1, 3, SIZE, SIZE, device=weight.device, dtype=weight.dtype)
    points = torch.zeros(1, DIMENSIONS, device=weight.device)
    detect = operations(model, lambda x: model.kp_detector(x).flat(), picture)
    return parameters(model), detect, operations(model, draw, points)


def _published(model: Fomm) -> Callable[[Tensor], Tensor]:
    """Return the published drawing of one frame, source and all."""
    weight = next(model.parameters())
    picture = torch.zeros(1, 3, SIZE, SIZE, device=weight.device)
    source = fomm_points.Points.from_flat(torch.zeros(1, DIMENSIONS, device=weight.device))

    def draw(flat: Tensor) -> Tensor:
        rendered: Tensor = model.generator(picture, source, fomm_points.Points.from_flat(flat)).prediction
        return rendered

    return draw


def _cached(backbone: FommBackbone) -> Callable[[Tensor], Tensor]:
    """Return the drawing of one frame from a source that was encoded before."""
    picture = torch.zeros(1, 3, SIZE, SIZE, device=backbone.device, dtype=backbone.dtype)
    source = fomm_points.Points.from_flat(torch.zeros(1, DIMENSIONS, device=backbone.device))
    with torch.no_grad():
        state = backbone.model.generator.encode_source(picture, source)

    def draw(flat: Tensor) -> Tensor:
        return backbone.model.generator.decode(state, fomm_points.Points.from_flat(flat)).prediction

    return draw


def load_or_untrained_fomm(path: Path | None, seed: int) -> Fomm:
    """Load a checkpoint, or build random weights where no path is given."""
    return untrained_fomm(seed) if path is None else load_fomm(path)


def forecasting(name: str, device: str, seed: int) -> Forecasting:
    """Return the forecaster `name` with its shipped weights; with random ones where none are shipped.

    Raises RequestError for an unknown name.
    """
    if name in ("hold", "damped"):
        return Forecasting(Hold() if name == "hold" else Damped(), 0, trained=True)
    if name not in PRESETS:
        raise RequestError(
            f"There is no forecaster {name!r}; choose from: hold, damped, {', '.join(PRESETS)}."
        )
    folder = SHIPPED / name
    trained = (folder / "config.json").is_file()
    if trained:
        network = restore(name, load(folder, expect=name))
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build_network(PRESETS[name]["call"])
    return Forecasting(NeuralForecaster(name, network, device), _forecast_macs(network, device), trained)


def _forecast_macs(network: RecurrentNetwork, device: str) -> int:
    network = network.to(device).eval()
    with torch.no_grad():
        frame = torch.zeros(1, DIMENSIONS, device=device)
        state = network.absorb(None, frame[None])
    return operations(network, lambda *x: network.advance(State(*x)).last, *state)
