"""The forecasters as a call runs them, in NumPy: the numbers that torch gives, refused where it refuses."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from models import checkpoint, stored
from models.forecast.build import WEIGHTS, load_forecaster, serve
from models.forecast.config import (
    PRESETS,
    GruConfig,
    GruNfConfig,
    LinearConfig,
    NetworkConfig,
    NfConfig,
    Predict,
    SimlpeConfig,
    VaeConfig,
    VrnnConfig,
    build_network,
    describe,
)
from models.forecast.learned import LearnedForecaster
from models.forecast.names import LEARNED
from models.forecast.networks import load_network, restore
from models.forecast.neural import NeuralForecaster
from models.forecast.recurrent import ForecastNetwork
from models.lite.layout import DIMENSIONS
from shared.errors import RequestError
from shared.interfaces import Forecaster
from shared.keypoints import Floats

torch.set_num_threads(1)
SMALL: dict[str, list[NetworkConfig]] = {
    "linear": [LinearConfig(order=3)],
    "gru": [GruConfig(layers=3, hidden=8, inner=9)],
    "vae": [VaeConfig(lag=5, inner=8, latent=3)],
    "nf": [NfConfig(lag=5, blocks=3, depth=4, inner=8)],
    "simlpe": [SimlpeConfig(length=7, blocks=3, width=9)],
    "vrnn": [
        VrnnConfig(hidden=8, features=6, inner=7, latent=3),
        VrnnConfig(hidden=8, features=6, inner=7, latent=3, spread="unit"),
    ],
    "gru-nf": [GruNfConfig(layers=2, hidden=8, blocks=3, depth=3, inner=9)],
}
EVERY = [pytest.param(name, one, id=f"{name}-{i}") for name in SMALL for i, one in enumerate(SMALL[name])]


def random_network(config: NetworkConfig) -> ForecastNetwork:
    """A network whose every weight and statistic matters."""
    torch.manual_seed(0)
    network = build_network(config, DIMENSIONS)
    for key, value in network.state_dict().items():
        if key.endswith(("weight", "bias", "mean", "log_gain")):
            value.add_(0.1 * torch.randn(value.shape))
        elif key.endswith(("std", "step", "running_var")):
            value.uniform_(0.1, 0.3)
    return network


def saved(folder: Path, name: str, config: NetworkConfig, network: ForecastNetwork) -> stored.Stored:
    checkpoint.save(folder, network.state_dict(), describe(name, config, "0123"))
    return stored.read(folder, expect=name)


def walk(count: int) -> Floats:
    steps = np.random.default_rng(0).normal(scale=0.05, size=(count, 60))
    return np.cumsum(steps, axis=0).astype(np.float32)


def agree(ours: Forecaster, theirs: Forecaster, atol: float) -> None:
    """Both observe the same in pieces, forecast and sample the same, in the same type."""
    past = walk(11)
    for part in (past[:1], past[1:4], past[4:]):
        for forecaster in (ours, theirs):
            forecaster.observe(part)
        forecast = ours.forecast(9)
        assert forecast.dtype == np.float32
        np.testing.assert_allclose(forecast, theirs.forecast(9), atol=atol, rtol=0)
        samples = ours.sample(3, 9, seed=1)
        assert samples.dtype == np.float32
        np.testing.assert_allclose(samples, theirs.sample(3, 9, seed=1), atol=atol, rtol=0)
    assert np.abs(forecast - past[-1]).max() > 1e-3


@pytest.mark.parametrize(("name", "config"), EVERY)
@pytest.mark.parametrize("predict", ["delta", "frame"])
def test_numpy_computes_what_torch_does(
    name: str, config: NetworkConfig, predict: Predict, tmp_path: Path
) -> None:
    config = type(config)(**{**asdict(config), "predict": predict})
    network = random_network(config)
    agree(serve(name, saved(tmp_path, name, config, network)), NeuralForecaster(name, network), 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNED)
def test_the_shipped_ones_are_the_same_within_a_tenth_of_a_thousandth(name: str) -> None:
    ours = load_forecaster(name)
    assert isinstance(ours, LearnedForecaster)
    agree(ours, NeuralForecaster(name, load_network(name)), 1e-4)


@pytest.mark.parametrize("name", LEARNED)
def test_a_step_takes_less_than_a_millisecond(name: str) -> None:
    forecaster, taken = load_forecaster(name), []
    forecaster.observe(walk(24))
    for _ in range(5):
        start = time.thread_time()
        forecaster.forecast(12)
        taken.append((time.thread_time() - start) / 12)
    # Of this thread alone: what else the machine does is not its fault.
    assert min(taken) < 1e-3


def test_every_learned_one_is_compared() -> None:
    assert set(SMALL) == set(PRESETS) == set(LEARNED)


@pytest.mark.parametrize(("name", "config"), EVERY)
def test_weights_of_another_size_are_refused_as_torch_does(
    name: str, config: NetworkConfig, tmp_path: Path
) -> None:
    network = random_network(config)
    size = next(key for key in ("order", "hidden", "inner", "width") if key in asdict(config))
    wider = type(config)(**{**asdict(config), size: asdict(config)[size] + 1})
    saved(tmp_path, name, wider, network)
    with pytest.raises(RequestError, match="do not fit their config"):
        serve(name, stored.read(tmp_path))
    with pytest.raises(RequestError, match="do not fit their config"):
        restore(name, checkpoint.load(tmp_path))


@pytest.mark.parametrize(
    ("name", "key", "value", "sentence"),
    [
        ("vrnn", "cell.weight_hh", float("nan"), "not finite float32"),
        ("vrnn", "scaling.step", 0.0, "not positive"),
        ("nf", "ordinary", 0.0, "by no spread"),
        ("vrnn", "extra", 1.0, "do not fit"),
        ("vrnn", "prior.0.bias", None, "first at prior.0.bias"),
    ],
)
def test_unusable_weights_are_refused(
    name: str, key: str, value: float | None, sentence: str, tmp_path: Path
) -> None:
    config = SMALL[name][0]
    tensors = random_network(config).state_dict()
    if value is None:
        del tensors[key]
    else:
        tensors[key] = torch.full_like(tensors.get(key, torch.zeros(2)), value)
    checkpoint.save(tmp_path, tensors, describe(name, config, "0123"))
    with pytest.raises(RequestError, match=sentence):
        load_forecaster(name, tmp_path)


def test_half_precision_is_refused_as_by_torch(tmp_path: Path) -> None:
    config = SMALL["gru"][0]
    half = {key: tensor.half() for key, tensor in random_network(config).state_dict().items()}
    checkpoint.save(tmp_path, half, describe("gru", config, "0123"))
    with pytest.raises(RequestError, match="not finite float32"):
        load_forecaster("gru", tmp_path)


@pytest.mark.parametrize("name", LEARNED)
def test_whatever_a_peer_sends_there_is_an_answer_and_no_warning(name: str) -> None:
    forecaster = load_forecaster(name)
    forecaster.observe(np.concatenate([walk(3), np.full((2, 60), 3e38, np.float32), walk(2)]))
    assert forecaster.forecast(8).shape == (8, 60)


def test_torch_is_not_loaded() -> None:
    assert all((WEIGHTS / name).is_dir() for name in LEARNED)
    code = """
import sys, numpy as np
from models.forecast.build import best_forecaster, load_forecaster
from models.forecast.names import NAMES
for forecaster in (best_forecaster("unknown"), *map(load_forecaster, NAMES)):
    forecaster.observe(np.zeros((2, 60), np.float32))
    forecaster.forecast(3)
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "False\n", done.stderr
