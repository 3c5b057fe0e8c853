"""Training losses of forecasters: exact or bounded likelihood, and the error of free running."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from models.forecast.gru import Gru
from models.forecast.grunf import GruNf
from models.forecast.nf import Nf
from models.forecast.recurrent import ForecastNetwork, State
from models.forecast.scaling import LIMIT
from models.forecast.simlpe import Simlpe
from models.forecast.vae import Vae
from models.forecast.vrnn import Gaussian, Vrnn, gaussian_kl, gaussian_nll

# A clip that stands still has changes of almost zero; noise of so many standard deviations keeps densities
# finite.
DEQUANTISATION = 0.05
SURPRISING = 3.0


def sequence_loss(
    network: ForecastNetwork, frames: Tensor, split: int, generator: torch.Generator
) -> tuple[Tensor, State]:
    """Return the loss per number (lower is better) of true `frames` (B, T, D), and the state after `split`.

    The paper's, in standardised units: the squared error of the next frame for a GRU (equation 6), that of
    the lagged frame and the divergence for a VAE (10), the negative ELBO for a VRNN (17, with its sign set
    right), squared error and exact negative log-likelihood for an NF (24), the latter for a GRU-NF (30).
    siMLPe's own is the squared error of its block's changes. 2 <= split < T.
    """
    match network:
        case Vrnn():
            return _vrnn(network, frames, split, generator)
        case GruNf():
            return _gru_nf(network, frames, split, generator)
        case Gru():
            return _gru(network, frames, split)
        case Vae():
            return _vae(network, frames, generator), network.absorb(None, frames[:, :split])
        case Nf():
            return _nf(network, frames, generator), network.absorb(None, frames[:, :split])
        case Simlpe():
            return _simlpe(network, frames, split)
    raise TypeError(f"no loss is known for {type(network).__name__}")


def rollout_loss(network: ForecastNetwork, state: State, frames: Tensor, split: int) -> Tensor:
    """Return the mean squared error of free running from `state`, after `split` of `frames` (B, T, D).

    In units of how much the observed frames changed and of the root of the time that passed, so that lively
    and still windows count alike, early and late frames too. Errors beyond 3 such units count linearly: what
    nothing announced cannot be forecast, and must not rule what is learned.
    """
    future = frames[:, split:]
    time = torch.arange(1, future.shape[1] + 1, device=frames.device)[:, None]
    error = (network.rollout(state, future.shape[1]) - future) / network.scaling.step
    return squared(error / (liveliness(network, frames[:, :split])[:, None] * time.sqrt()), SURPRISING)


def liveliness(network: ForecastNetwork, frames: Tensor) -> Tensor:
    """Return how much `frames` (B, T, D), T >= 2, change a frame, in usual changes: (B, 1), at least 0.3."""
    changes = (frames[:, 1:] - frames[:, :-1]) / network.scaling.step
    return (changes.clamp(-LIMIT, LIMIT).square().mean((1, 2)) + 0.1).sqrt()[:, None]


def squared(error: Tensor, limit: float = LIMIT) -> Tensor:
    """Return the mean square of `error`, a scalar; what is beyond `limit` counts linearly."""
    # Twice, because the quadratic part of Huber's loss is half a square.
    return 2 * huber_loss(error, torch.zeros_like(error), delta=limit)


def _vrnn(network: Vrnn, frames: Tensor, split: int, generator: torch.Generator) -> tuple[Tensor, State]:
    seen = network.unroll(frames, _noise(network, frames, generator))
    target = _blurred(seen.target, generator)
    divergence = gaussian_kl(seen.posterior, seen.prior).sum(-1)
    loss = (divergence + gaussian_nll(target, seen.decoded).sum(-1)).mean() / network.dimensions
    return loss, State(seen.hidden[:, split - 2][None], frames[:, split - 1])


def _gru_nf(network: GruNf, frames: Tensor, split: int, generator: torch.Generator) -> tuple[Tensor, State]:
    past, state = network.follow(None, frames[:, :split])
    rest, _ = network.follow(state, frames[:, split:])
    hidden = torch.cat([past, rest], dim=1)[:, :-1]
    target = _blurred(network.scaling.target(frames[:, 1:], frames[:, :-1]), generator)
    return -network.flow.log_prob(target, hidden).mean() / network.dimensions, state


def _gru(network: Gru, frames: Tensor, split: int) -> tuple[Tensor, State]:
    past, state = network.follow(None, frames[:, :split])
    rest, _ = network.follow(state, frames[:, split:])
    predicted = network.output(torch.cat([past, rest], dim=1)[:, :-1])
    return squared(predicted - network.scaling.target(frames[:, 1:], frames[:, :-1])), state


def _vae(network: Vae, frames: Tensor, generator: torch.Generator) -> Tensor:
    seen, target, _ = network.pairs(frames)
    posterior = network.encode(seen)
    noise = torch.randn(posterior.mean.shape, generator=generator).to(frames.device)
    zero = torch.zeros_like(posterior.mean)
    divergence = gaussian_kl(posterior, Gaussian(zero, zero)).sum(-1).mean() / network.dimensions
    return squared(network.decode(posterior.at(noise)) - target) + divergence


def _nf(network: Nf, frames: Tensor, generator: torch.Generator) -> Tensor:
    seen, target, _ = network.pairs(frames)
    likelihood = network.flow.log_prob(_blurred(target, generator), seen).mean() / network.dimensions
    return squared(network.flow.inverse(torch.zeros_like(target), seen) - target) - likelihood


def _simlpe(network: Simlpe, frames: Tensor, split: int) -> tuple[Tensor, State]:
    state = network.absorb(None, frames[:, :split])
    future = frames[:, split:]
    predicted = network.rollout(state, future.shape[1])
    before, said = frames[:, split - 1 : -1], torch.cat([state.last[:, None], predicted[:, :-1]], dim=1)
    error = ((predicted - said) - (future - before)) / network.scaling.step
    return squared(error / liveliness(network, frames[:, :split])[:, None], SURPRISING), state


def _noise(network: Vrnn, frames: Tensor, generator: torch.Generator) -> Tensor:
    shape = (len(frames), frames.shape[1] - 1, network.noise_size)
    return torch.randn(shape, generator=generator).to(frames.device)


def _blurred(target: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(target.shape, generator=generator).to(target.device)
    return target.clamp(-LIMIT, LIMIT) + DEQUANTISATION * noise
