"""Forecasters by name, with the weights that came with the project or with others."""

from __future__ import annotations

from pathlib import Path

import torch

from models.checkpoint import Checkpoint, load
from models.forecast.baselines import Damped, Hold
from models.forecast.config import CONFIGS, build_network, parse
from models.forecast.grunf import GruNf
from models.forecast.names import BEST, FALLBACK, NAMES
from models.forecast.neural import NeuralForecaster
from models.forecast.nf import Nf
from models.forecast.recurrent import RecurrentNetwork
from shared.errors import RequestError
from shared.interfaces import Forecaster

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"
Density = GruNf | Nf


def load_forecaster(name: str, folder: Path | None = None, device: str = "cpu") -> Forecaster:
    """Return the forecaster `name`, one of `models.forecast.names.NAMES`.

    `folder` holds the weights of a learned one; by default those that came with the project. RequestError if
    the name is unknown or the weights are missing or unfit.
    """
    if name == "hold":
        return Hold()
    if name == "damped":
        return Damped()
    return NeuralForecaster(name, load_network(name, folder), device)


def mirrored_forecaster(name: str, device: str = "cpu") -> Forecaster:
    """Return the shipped forecaster that a peer calls `name`; damped velocity where there is none of it."""
    return load_forecaster(name if name in NAMES else FALLBACK, device=device)


def load_network(name: str, folder: Path | None = None) -> RecurrentNetwork:
    """Return the network of the learned forecaster `name`, on the CPU, for what only networks can do.

    `folder` holds its weights; by default those that came with the project. Raises as `load_forecaster`.
    """
    if name not in CONFIGS:
        raise RequestError(f"there is no forecaster {name!r}: use one of {', '.join(NAMES)}")
    folder = WEIGHTS / name if folder is None else folder
    if not (folder / "config.json").is_file():
        raise RequestError(
            f"no weights of {name} in {folder}: train them with `python -m models.training forecaster "
            f"--model {name} --tracks DIR --output DIR` and put DIR/weights there"
        )
    return restore(name, load(folder, expect=name))


def load_density(name: str, folder: Path | None = None) -> Density:
    """Return the network `name`, on the CPU, which has an exact likelihood. Raises as `load_forecaster`."""
    network = load_network(name, folder)
    if not isinstance(network, GruNf | Nf):
        raise RequestError(f"{name} has no exact likelihood: use gru-nf or nf")
    return network.eval()


def best_forecaster(detector: str, device: str = "cpu") -> Forecaster:
    """Return the shipped forecaster that is best for the keypoints of `detector`, a backbone's fingerprint.

    Another detector's keypoints stand for other places; without a forecaster trained on them, it is damped
    velocity.
    """
    checkpoint = load(WEIGHTS / BEST, expect=BEST)
    if checkpoint.config.get("tracks_of") != detector:
        return load_forecaster(FALLBACK)
    return NeuralForecaster(BEST, restore(BEST, checkpoint), device)


def restore(name: str, checkpoint: Checkpoint) -> RecurrentNetwork:
    """Return the network `name` with the weights of `checkpoint`; RequestError if they do not fit."""
    # Built without memory, so that sizes in a config cost nothing before the weights are there to match them.
    with torch.device("meta"):
        network = build_network(parse(name, checkpoint.config))
    wanted = {key: tensor.shape for key, tensor in network.state_dict().items()}
    given = {key: tensor.shape for key, tensor in checkpoint.tensors.items()}
    if wanted != given:
        wrong = sorted(key for key in wanted.keys() | given.keys() if wanted.get(key) != given.get(key))
        raise RequestError(
            f"the weights do not fit their config.json ({name}, first at {wrong[0]}): use another file"
        )
    for key, tensor in checkpoint.tensors.items():
        if tensor.dtype != torch.float32 or not torch.isfinite(tensor).all():
            raise RequestError(
                f"the weights of {name} are not finite float32 numbers (at {key}): use another file"
            )
    network.load_state_dict(checkpoint.tensors, strict=True, assign=True)
    if not (network.scaling.std > 0).all() or not (network.scaling.step > 0).all():
        raise RequestError(
            f"the weights of {name} standardise by a spread that is not positive: use another file"
        )
    calibration = getattr(network, "ordinary", None)
    if calibration is not None and not (calibration[1:] > 0).all():
        raise RequestError(f"the weights of {name} measure surprise by no spread: use another file")
    return network
