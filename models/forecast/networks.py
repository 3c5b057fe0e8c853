"""The learned forecasters in torch by name, for what only networks can do: training, likelihoods, GPUs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from models.checkpoint import Checkpoint, load
from models.forecast.build import weights_folder
from models.forecast.config import (
    GruConfig,
    GruNfConfig,
    LinearConfig,
    NetworkConfig,
    NfConfig,
    SimlpeConfig,
    VaeConfig,
    VrnnConfig,
    build_network,
    parse,
)
from models.forecast.gru import Gru
from models.forecast.grunf import GruNf
from models.forecast.linear import Linear
from models.forecast.nf import Nf
from models.forecast.recurrent import ForecastNetwork
from models.forecast.simlpe import Simlpe
from models.forecast.vae import Vae
from models.forecast.vrnn import Vrnn
from shared.errors import RequestError

Density = GruNf | Nf
NETWORKS: dict[type[NetworkConfig], Callable[..., ForecastNetwork]] = {
    LinearConfig: Linear,
    GruConfig: Gru,
    VaeConfig: Vae,
    NfConfig: Nf,
    VrnnConfig: Vrnn,
    GruNfConfig: GruNf,
    SimlpeConfig: Simlpe,
}


def load_network(name: str, folder: Path | None = None) -> ForecastNetwork:
    """Return the network of the learned forecaster `name`, on the CPU.

    `folder` holds its weights; by default those that came with the project. Raises as `load_forecaster`.
    """
    return restore(name, load(weights_folder(name, folder), expect=name))


def load_density(name: str, folder: Path | None = None) -> Density:
    """Return the network `name`, on the CPU, which has an exact likelihood. Raises as `load_forecaster`."""
    network = load_network(name, folder)
    if not isinstance(network, GruNf | Nf):
        raise RequestError(f"{name} has no exact likelihood: use gru-nf or nf")
    return network.eval()


def restore(name: str, checkpoint: Checkpoint) -> ForecastNetwork:
    """Return the network `name` with the weights of `checkpoint`; RequestError if they do not fit."""
    # Built without memory, so that sizes in a config cost nothing before the weights are there to match them.
    dimensions = _frame_size(name, checkpoint.tensors.get("scaling.mean"))
    with torch.device("meta"):
        network = build_network(parse(name, checkpoint.config), dimensions)
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


def _frame_size(name: str, mean: Tensor | None) -> int:
    """Return how many numbers a frame has, which the mean frame (D,) shows; RequestError without one."""
    if mean is None or mean.dim() != 1 or not len(mean):
        raise RequestError(
            f"the weights do not fit their config.json ({name}, first at scaling.mean): use another file"
        )
    return len(mean)
