"""Forecasters by name, with the weights that came with the project or with others; torch only on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from models import stored
from models.forecast.baselines import Damped, Hold
from models.forecast.config import (
    CONFIGS,
    GruConfig,
    GruNfConfig,
    LinearConfig,
    NetworkConfig,
    NfConfig,
    SimlpeConfig,
    VaeConfig,
    VrnnConfig,
    parse,
)
from models.forecast.learned import LearnedForecaster
from models.forecast.names import BEST, FALLBACK, NAMES
from models.forecast.served import ServedNetwork, State
from models.forecast.served_recurrent import ServedGru, ServedGruNf, ServedVrnn
from models.forecast.served_windows import ServedLinear, ServedNf, ServedSimlpe, ServedVae
from models.stored import Stored, Weights
from shared.errors import RequestError
from shared.interfaces import Forecaster
from shared.keypoints import KeypointLayout

if TYPE_CHECKING:
    from models.forecast.neural import NeuralForecaster

_SERVED: dict[type[NetworkConfig], Callable[..., ServedNetwork]] = {
    LinearConfig: ServedLinear,
    GruConfig: ServedGru,
    VaeConfig: ServedVae,
    NfConfig: ServedNf,
    VrnnConfig: ServedVrnn,
    GruNfConfig: ServedGruNf,
    SimlpeConfig: ServedSimlpe,
}
WEIGHTS = Path(__file__).resolve().parent.parent / "weights"


def load_forecaster(
    name: str, folder: Path | None = None, device: str = "cpu", *, layout: KeypointLayout | None = None
) -> Forecaster:
    """Return the forecaster `name`, one of `models.forecast.names.NAMES`.

    `folder` holds the weights of a learned one; by default those that came with the project. On a CPU NumPy
    computes it, on a GPU torch. RequestError if the name is unknown or the weights are missing, unfit or for
    frames of another size than `layout` says.
    """
    if name == "hold":
        return Hold()
    if name == "damped":
        return Damped()
    learned = (
        serve(name, stored.read(weights_folder(name, folder), expect=name))
        if device == "cpu"
        else _in_torch(name, folder, device)
    )
    if layout is not None and learned.dimensions != layout.dimensions:
        raise RequestError(
            f"The weights of {name} forecast {learned.dimensions} numbers a frame, and this backbone has "
            f"{layout.dimensions}; use --forecaster {FALLBACK}, or train {name} on its keypoints."
        )
    return learned


def mirrored_forecaster(name: str, layout: KeypointLayout | None = None) -> Forecaster:
    """Return the shipped forecaster that a peer calls `name`; damped velocity where there is none of it."""
    return load_forecaster(name if name in NAMES else FALLBACK, layout=layout)


def best_forecaster(detector: str, device: str = "cpu") -> Forecaster:
    """Return the shipped forecaster that is best for the keypoints of `detector`, a detector's fingerprint.

    Another detector's keypoints stand for other places; without a forecaster trained on them, it is damped
    velocity.
    """
    config = stored.read_config(WEIGHTS / BEST, expect=BEST)
    return load_forecaster(BEST if config.get("tracks_of") == detector else FALLBACK, device=device)


def serve(name: str, found: Stored) -> LearnedForecaster[State]:
    """Return the learned forecaster `name` in NumPy; RequestError if its weights do not fit."""
    config = parse(name, found.config)
    weights = Weights(name, found.arrays)
    network = _SERVED[type(config)](config, weights)
    weights.check_all_taken()
    return LearnedForecaster(name, network)


def weights_folder(name: str, folder: Path | None = None) -> Path:
    """Return `folder`, or where the shipped weights of the learned forecaster `name` lie.

    RequestError if the name is unknown or there are no weights.
    """
    if name not in CONFIGS:
        raise RequestError(f"there is no forecaster {name!r}: use one of {', '.join(NAMES)}")
    folder = WEIGHTS / name if folder is None else folder
    if not (folder / "config.json").is_file():
        raise RequestError(
            f"no weights of {name} in {folder}: train them with `python -m models.training forecaster "
            f"--model {name} --tracks DIR --output DIR` and put DIR/weights there"
        )
    return folder


def _in_torch(name: str, folder: Path | None, device: str) -> NeuralForecaster:
    from models.forecast.networks import load_network
    from models.forecast.neural import NeuralForecaster

    return NeuralForecaster(name, load_network(name, folder), device)
