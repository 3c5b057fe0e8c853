from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models import checkpoint
from models.forecast.build import NAMES, load_forecaster
from models.forecast.config import PRESETS, NetworkConfig, build_network, describe, parse
from models.forecast.gru import GruConfig
from models.forecast.grunf import GruNfConfig
from models.forecast.linear import LinearConfig
from models.forecast.networks import restore
from models.forecast.neural import NeuralForecaster
from models.forecast.nf import NfConfig
from models.forecast.scaling import Predict, Scaling
from models.forecast.simlpe import SimlpeConfig, cosines
from models.forecast.vae import VaeConfig
from models.forecast.vrnn import Gaussian, VrnnConfig, gaussian_kl, gaussian_nll
from models.lite.layout import DIMENSIONS
from shared.errors import RequestError
from shared.keypoints import Floats

torch.set_num_threads(1)
TINY: dict[str, NetworkConfig] = {
    "linear": LinearConfig(order=8),
    "gru": GruConfig(layers=2, hidden=8, inner=8),
    "vae": VaeConfig(lag=8, inner=8, latent=3),
    "nf": NfConfig(lag=8, blocks=2, depth=2, inner=8),
    "simlpe": SimlpeConfig(length=8, blocks=2, width=8),
    "vrnn": VrnnConfig(hidden=8, features=6, inner=8, latent=3),
    "gru-nf": GruNfConfig(layers=2, hidden=8, blocks=2, depth=2, inner=8),
}


def make(name: str, predict: Predict = "delta") -> NeuralForecaster:
    torch.manual_seed(0)
    network = build_network(type(TINY[name])(**{**asdict(TINY[name]), "predict": predict}), DIMENSIONS)
    for key, value in network.state_dict().items():
        if key.endswith(("weight", "bias")):
            value.add_(0.1 * torch.randn(value.shape))
    network.scaling.std.uniform_(0.1, 0.3)
    network.scaling.step.uniform_(0.01, 0.03)
    return NeuralForecaster(name, network)


def weights_of(forecaster: NeuralForecaster) -> dict[str, Tensor]:
    return forecaster._network.network.state_dict()  # type: ignore[attr-defined]


def walk(count: int) -> Floats:
    steps = np.random.default_rng(0).normal(scale=0.02, size=(count, 60))
    return np.cumsum(steps, axis=0).astype(np.float32)


DETERMINISTIC = ["linear", "gru", "simlpe"]
every = pytest.mark.parametrize("name", list(TINY))


@pytest.mark.slow
@pytest.mark.parametrize("predict", ["delta", "frame"])
def test_standardisation_round_trip(predict: Predict) -> None:
    scaling = Scaling(predict, DIMENSIONS)
    scaling.mean.uniform_(-1, 1)
    scaling.std.uniform_(0.1, 2)
    scaling.step.uniform_(0.01, 0.2)
    frame, last = torch.randn(2, 5, 60)
    torch.testing.assert_close(scaling.frame(scaling.target(frame, last), last), frame)
    assert float(scaling.describe(1e6 * frame, last).abs().max()) == 10.0


def test_standardised_changes_are_in_units_of_the_step() -> None:
    scaling = Scaling("delta", DIMENSIONS)
    scaling.step.fill_(0.5)
    assert scaling.target(torch.full((60,), 3.0), torch.full((60,), 2.0)).tolist() == [2.0] * 60


@every
@pytest.mark.parametrize("predict", ["delta", "frame"])
def test_frame_by_frame_equals_all_at_once(name: str, predict: Predict) -> None:
    whole, single = make(name, predict), make(name, predict)
    frames = walk(11)
    whole.observe(frames)
    for frame in frames:
        single.observe(frame[None])
    np.testing.assert_allclose(whole.forecast(8), single.forecast(8), atol=1e-6)


@every
def test_asking_does_not_change_the_state(name: str) -> None:
    forecaster = make(name)
    forecaster.observe(walk(6))
    first = forecaster.forecast(12)
    assert first.shape == (12, 60)
    assert first.dtype == np.float32
    forecaster.sample(3, 12, seed=0)
    np.testing.assert_array_equal(forecaster.forecast(12), first)
    np.testing.assert_array_equal(forecaster.forecast(5), first[:5])


@every
def test_what_was_observed_matters_until_a_reset(name: str) -> None:
    forecaster = make(name)
    frames = walk(12)
    forecaster.observe(frames[6:])
    fresh = forecaster.forecast(4)
    forecaster.reset()
    forecaster.observe(frames)
    assert not np.allclose(forecaster.forecast(4), fresh, atol=1e-5)
    forecaster.reset()
    forecaster.observe(frames[6:])
    np.testing.assert_array_equal(forecaster.forecast(4), fresh)
    forecaster.reset()
    with pytest.raises(RuntimeError, match="before anything"):
        forecaster.forecast(1)


@pytest.mark.parametrize("name", [name for name in TINY if name not in DETERMINISTIC])
def test_samples_differ_and_follow_the_seed(name: str) -> None:
    forecaster = make(name)
    forecaster.observe(walk(6))
    samples = forecaster.sample(4, 5, seed=7)
    assert samples.shape == (4, 5, 60)
    assert np.abs(samples[0] - samples[1]).max() > 1e-4
    np.testing.assert_array_equal(samples, forecaster.sample(4, 5, seed=7))
    assert not np.array_equal(samples, forecaster.sample(4, 5, seed=8))


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_without_chance_all_samples_are_the_forecast(name: str) -> None:
    forecaster = make(name)
    forecaster.observe(walk(6))
    for sample in forecaster.sample(3, 12, seed=0):
        np.testing.assert_allclose(sample, forecaster.forecast(12), atol=1e-6)


@every
def test_a_cut_leaves_the_forecast_bounded(name: str) -> None:
    forecaster = make(name)
    forecaster.observe(np.concatenate([walk(6), 1e6 + walk(1)]))
    assert np.isfinite(forecaster.forecast(24)).all()
    assert np.abs(forecaster.forecast(24) - 1e6).max() < 1e3


@pytest.mark.slow
def test_gaussians_agree_with_torch() -> None:
    torch.manual_seed(0)
    left, right = (Gaussian(torch.randn(5), torch.randn(5)) for _ in range(2))
    mine, theirs = (
        torch.distributions.Normal(side.mean, torch.exp(side.log_variance / 2)) for side in (left, right)
    )
    values = torch.randn(5)
    torch.testing.assert_close(gaussian_kl(left, right), torch.distributions.kl_divergence(mine, theirs))
    torch.testing.assert_close(gaussian_nll(values, left), -mine.log_prob(values))


@every
def test_weights_and_config_travel_together(name: str, tmp_path: Path) -> None:
    forecaster = make(name)
    checkpoint.save(tmp_path, weights_of(forecaster), describe(name, TINY[name], "0123"))
    loaded = load_forecaster(name, tmp_path)
    assert checkpoint.load(tmp_path).config["tracks_of"] == "0123"
    for one in (forecaster, loaded):
        one.observe(walk(6))
    np.testing.assert_allclose(loaded.forecast(6), forecaster.forecast(6), atol=1e-6)


def test_names() -> None:
    for name in ("hold", "damped"):
        assert load_forecaster(name).name == name
    with pytest.raises(RequestError, match=", ".join(NAMES)):
        load_forecaster("oracle")


def test_missing_weights_say_how_to_train(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"models\.training forecaster --model vrnn"):
        load_forecaster("vrnn", tmp_path)


@every
@pytest.mark.parametrize("preset", ["call", "paper"])
def test_presets_pass_their_own_check(name: str, preset: str) -> None:
    config = PRESETS[name][preset]
    assert parse(name, describe(name, config, "f")) == config


@pytest.mark.slow
def test_the_paper_sizes_are_those_of_its_appendix() -> None:
    vrnn, flow = PRESETS["vrnn"]["paper"], PRESETS["gru-nf"]["paper"]
    assert isinstance(vrnn, VrnnConfig)
    assert isinstance(flow, GruNfConfig)
    assert (64 <= vrnn.hidden <= 256, vrnn.latent, vrnn.inner, vrnn.spread) == (True, 15, 512, "unit")
    assert (flow.layers, 512 <= flow.hidden <= 2048, flow.blocks) == (3, True, 12)
    assert (flow.depth, flow.inner) == (5, 2048)
    with torch.device("meta"):
        simlpe = sum(
            part.numel() for part in build_network(PRESETS["simlpe"]["paper"], DIMENSIONS).parameters()
        )
        assert 0.13e6 < simlpe < 0.145e6
        assert build_network(vrnn, DIMENSIONS).decoder[-1].out_features == 60  # type: ignore[index, union-attr]


def test_every_learned_forecaster_is_tested() -> None:
    assert set(TINY) == set(PRESETS) == set(NAMES) - {"hold", "damped"}


def test_cosines_are_an_orthonormal_basis() -> None:
    basis = cosines(12)
    torch.testing.assert_close(basis @ basis.T, torch.eye(12), atol=1e-6, rtol=0)
    assert float(basis[0].std()) < 1e-6


@pytest.mark.parametrize(
    "change",
    [
        {"hidden": 0},
        {"hidden": 10**9},
        {"hidden": 8.0},
        {"hidden": True},
        {"hidden": "8"},
        {"predict": "pixels"},
        {"predict": ["delta"]},
        {"spread": "wide"},
        {"spread": 1},
        {"tracks_of": None},
        {"surprise": 1},
    ],
)
def test_hostile_config_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        parse("vrnn", {**describe("vrnn", TINY["vrnn"], "f"), **change})


@pytest.mark.slow
@pytest.mark.parametrize(
    "config", [GruNfConfig(32, 8192, 32, 32, 8192), GruNfConfig(1, 8, 2, 2, 16)], ids=["huge", "wider"]
)
def test_config_that_does_not_fit_its_weights_is_refused(config: GruNfConfig) -> None:
    tensors = build_network(TINY["gru-nf"], DIMENSIONS).state_dict()
    stored = checkpoint.Checkpoint(describe("gru-nf", config, "f"), tensors, "")
    with pytest.raises(RequestError, match="do not fit"):
        restore("gru-nf", stored)


@pytest.mark.parametrize(("key", "value"), [("scaling.step", 0.0), ("cell.weight_hh", float("nan"))])
def test_unusable_weights_are_refused(key: str, value: float) -> None:
    tensors = build_network(TINY["vrnn"], DIMENSIONS).state_dict()
    tensors[key] = torch.full_like(tensors[key], value)
    stored = checkpoint.Checkpoint(describe("vrnn", TINY["vrnn"], "f"), tensors, "")
    with pytest.raises(RequestError, match=r"not positive|not finite"):
        restore("vrnn", stored)
