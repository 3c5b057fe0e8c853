"""Exact densities against autograd, and the bound where there is none."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from models.forecast.config import SPREADS, Predict, Spread, VrnnConfig, build_network
from models.forecast.grunf import GruNf, GruNfConfig
from models.forecast.likelihood import lower_bound
from models.forecast.networks import load_density, load_network
from models.forecast.nf import Nf, NfConfig
from models.forecast.vrnn import Vrnn
from models.lite.layout import DIMENSIONS
from shared.errors import RequestError

torch.set_num_threads(1)


def flow_network(name: str, predict: Predict) -> Nf | GruNf:
    torch.manual_seed(1)
    small = {"blocks": 3, "depth": 2, "inner": 12, "predict": predict}
    network = build_network(
        NfConfig(lag=3, **small) if name == "nf" else GruNfConfig(layers=1, hidden=8, **small),  # type: ignore[arg-type]
        DIMENSIONS,
    )
    assert isinstance(network, Nf | GruNf)
    for parameter in network.parameters():
        parameter.data.add_(0.1 * torch.randn(parameter.shape))
    network.scaling.std.uniform_(0.1, 0.3)
    network.scaling.step.uniform_(0.01, 0.03)
    return network.eval().requires_grad_(requires_grad=False)


def walk(count: int) -> Tensor:
    steps = np.random.default_rng(0).normal(scale=0.02, size=(1, count, 60))
    return torch.from_numpy(np.cumsum(steps, axis=1).astype(np.float32))


@pytest.mark.parametrize("predict", ["delta", "frame"])
@pytest.mark.parametrize("name", ["nf", "gru-nf"])
def test_the_likelihood_is_the_base_density_times_the_jacobian_of_autograd(
    name: str, predict: Predict
) -> None:
    network, frames = flow_network(name, predict), walk(7)

    def base(frame: Tensor) -> Tensor:
        """Return z of the sequence's last frame where that is `frame`."""
        known = network.absorb(None, frames[:, :-1])
        condition = network.oldest(known) if isinstance(network, Nf) else known.hidden[-1]
        target = network.scaling.target(frame[None], known.last)
        return network.flow(target, condition)[0][0]

    frame = frames[0, -1]
    jacobian = torch.autograd.functional.jacobian(base, frame)
    normal = -0.5 * (base(frame).square().sum() + 60 * math.log(2 * math.pi))
    expected = normal + torch.linalg.slogdet(jacobian.double()).logabsdet
    found = network.log_prob(frames)
    assert found.shape == (1, 6)
    assert float(found[0, -1]) == pytest.approx(float(expected), abs=2e-2)


@pytest.mark.parametrize("name", ["nf", "gru-nf"])
def test_a_forecast_is_the_frame_whose_base_is_zero(name: str) -> None:
    network, frames = flow_network(name, "delta"), walk(6)
    state = network.absorb(None, frames)
    forecast = network.advance(state).last
    condition = network.oldest(state) if isinstance(network, Nf) else state.hidden[-1]
    base, _ = network.flow(network.scaling.target(forecast, state.last), condition)
    assert float(base.abs().max()) < 1e-3


spreads = pytest.mark.parametrize("spread", SPREADS)


@spreads
def test_the_bound_is_the_likelihood_where_the_latent_says_nothing(spread: Spread) -> None:
    torch.manual_seed(0)
    network = build_network(VrnnConfig(hidden=8, features=6, inner=8, latent=3, spread=spread), DIMENSIONS)
    assert isinstance(network, Vrnn)
    network.scaling.step.fill_(0.02)
    network.scaling.std.fill_(0.3)
    for part in (network.prior, network.posterior, network.decoder, network.from_latent):
        for parameter in part.parameters():
            parameter.data.zero_()
    frames = walk(5).expand(2, -1, -1)
    found = network.elbo(frames, torch.randn(2, 4, 3)).sum(-1)
    # Untaught, a learned spread is that of changes; the fixed one is that of frames.
    changes = torch.distributions.Normal(0.0, 0.02 if spread == "learned" else 0.3).log_prob(
        frames[:, 1:] - frames[:, :-1]
    )
    torch.testing.assert_close(found, changes.sum((1, 2)), rtol=1e-4, atol=1e-2)


@spreads
@torch.no_grad()
def test_the_bound_is_not_above_what_importance_sampling_finds(spread: Spread) -> None:
    torch.manual_seed(0)
    network = build_network(VrnnConfig(hidden=8, features=6, inner=8, latent=2, spread=spread), DIMENSIONS)
    assert isinstance(network, Vrnn)
    network.scaling.step.fill_(0.02)
    frames = walk(2).expand(4000, -1, -1)
    bounds = network.elbo(frames, torch.randn(4000, 1, 2)).double().sum(-1)
    seen = network.unroll(frames[:1], torch.zeros(1, 1, 2))
    # One step: log of the mean of p(x|z) over draws of the prior is the exact log-likelihood.
    draws = seen.prior.at(torch.randn(4000, 1, 2, generator=torch.Generator().manual_seed(1)))
    hidden = network.observe(network.start(frames[:1, 0]), frames[:1, 0]).hidden[0].expand(4000, -1)
    raw = network.decoder(torch.cat([network.from_latent(draws[:, 0]), hidden], dim=-1))
    mean, width = raw, torch.tensor(1 / 0.02)
    if spread == "learned":
        mean, log_variance = raw.chunk(2, dim=-1)
        width = torch.exp(0.5 * 6 * torch.tanh(log_variance / 6))
    density = torch.distributions.Normal(mean, width).log_prob(seen.target[:, 0])
    exact = torch.logsumexp(density.sum(-1), 0) - math.log(4000) + network.scaling.log_determinant()
    assert float(bounds.mean()) <= float(exact) + 0.05


def test_only_flows_have_an_exact_likelihood() -> None:
    assert load_density("nf").ordinary[1] > 0
    with pytest.raises(RequestError, match="use gru-nf or nf"):
        load_density("vrnn")


def test_the_bound_of_a_clip_follows_the_seed_and_is_per_frame() -> None:
    network = load_network("vrnn").eval()
    assert isinstance(network, Vrnn)
    clip = walk(8)[0].numpy()
    found = lower_bound(network, clip, seed=3)
    assert found.shape == (7,)
    np.testing.assert_array_equal(found, lower_bound(network, clip, seed=3))
    assert np.abs(found - lower_bound(network, clip, seed=4)).max() > 1e-6
    with pytest.raises(ValueError, match="2 frames"):
        lower_bound(network, clip[:1])
