"""Forecasters for frames of other sizes than those of the shipped weights; odd ones too."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models import checkpoint
from models.forecast.build import load_forecaster, mirrored_forecaster
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
    describe,
)
from models.forecast.neural import NeuralForecaster
from shared.errors import RequestError
from shared.keypoints import KeypointLayout

torch.set_num_threads(1)

SIZE = 17
TINY: dict[str, NetworkConfig] = {
    "linear": LinearConfig(order=2),
    "gru": GruConfig(layers=1, hidden=8, inner=8),
    "vae": VaeConfig(lag=2, inner=8, latent=3),
    "nf": NfConfig(lag=2, blocks=3, depth=2, inner=8),
    "vrnn": VrnnConfig(hidden=8, features=6, inner=8, latent=3),
    "gru-nf": GruNfConfig(layers=1, hidden=8, blocks=3, depth=2, inner=8),
    "simlpe": SimlpeConfig(length=4, blocks=2, width=8),
}


@pytest.mark.parametrize("name", TINY)
def test_every_forecaster_takes_its_size_from_its_weights(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_network(TINY[name], SIZE).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    checkpoint.save(tmp_path, network.state_dict(), describe(name, TINY[name], "beef"))
    past = np.random.default_rng(0).normal(0, 0.1, (9, SIZE)).astype(np.float32)
    ours, theirs = load_forecaster(name, tmp_path), NeuralForecaster(name, network)
    for forecaster in (ours, theirs):
        forecaster.observe(past)
    np.testing.assert_allclose(ours.forecast(7), theirs.forecast(7), atol=1e-4)
    np.testing.assert_allclose(ours.sample(2, 3, seed=1), theirs.sample(2, 3, seed=1), atol=1e-4)
    with pytest.raises(ValueError, match=r"\(T, 17\)"):
        ours.observe(np.zeros((2, 60), np.float32))


@pytest.mark.slow
def test_a_flow_of_an_odd_size_is_undone_by_its_inverse() -> None:
    torch.manual_seed(0)
    flow = build_network(TINY["nf"], SIZE).eval().flow
    for parameter in flow.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    values, condition = torch.randn(5, SIZE), torch.randn(5, SIZE)
    base, _ = flow(values, condition)
    torch.testing.assert_close(flow.inverse(base, condition), values, atol=1e-4, rtol=1e-4)


def test_weights_for_frames_of_another_size_are_refused_in_one_sentence() -> None:
    layout = KeypointLayout.of_points(50)
    for load in (lambda: load_forecaster("vrnn", layout=layout), lambda: mirrored_forecaster("vrnn", layout)):
        with pytest.raises(RequestError, match="60 numbers a frame, and this backbone has 100"):
            load()
    assert mirrored_forecaster("someone's own", layout).name == "damped"
