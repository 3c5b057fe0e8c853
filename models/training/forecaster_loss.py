"""What forecasters are trained to minimise: exact or bounded likelihood, and the error of free running."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from models.forecast.grunf import GruNf
from models.forecast.recurrent import RecurrentNetwork, State
from models.forecast.scaling import LIMIT
from models.forecast.vrnn import Gaussian, Vrnn
from shared.keypoints import DIMENSIONS

# A clip that stands still has changes of almost zero; noise of so many standard deviations keeps densities
# finite.
DEQUANTISATION = 0.05


def likelihood_loss(
    network: RecurrentNetwork, frames: Tensor, split: int, generator: torch.Generator
) -> tuple[Tensor, State]:
    """Return the loss per number (lower is better) of true `frames` (B, T, 60), and the state after `split`.

    The negative ELBO for a VRNN (equation 17 of the paper, with its sign set right), the exact negative
    log-likelihood for a GRU-NF (equation 30), both in standardised units. 2 <= split < T.
    """
    if isinstance(network, Vrnn):
        return _vrnn(network, frames, split, generator)
    if isinstance(network, GruNf):
        return _gru_nf(network, frames, split, generator)
    raise TypeError(f"no likelihood is known for {type(network).__name__}")


def rollout_loss(network: RecurrentNetwork, state: State, future: Tensor) -> Tensor:
    """Return the mean squared error of free running from `state` over `future` (B, n, 60).

    In standard deviations of the change from frame to frame. Errors beyond LIMIT count linearly: a cut cannot
    be forecast, and must not rule what is learned.
    """
    error = (network.rollout(state, future.shape[1]) - future) / network.scaling.step
    # Twice, because the quadratic part of Huber's loss is half a square.
    return 2 * huber_loss(error, torch.zeros_like(error), delta=LIMIT)


def gaussian_nll(values: Tensor, density: Gaussian) -> Tensor:
    """Return -log N(values; density), elementwise."""
    spread = density.log_variance
    return 0.5 * (spread + (values - density.mean).square() * torch.exp(-spread) + math.log(2 * math.pi))


def gaussian_kl(left: Gaussian, right: Gaussian) -> Tensor:
    """Return KL(left || right), elementwise, of two diagonal Gaussians."""
    difference = left.log_variance - right.log_variance
    apart = (left.mean - right.mean).square() * torch.exp(-right.log_variance)
    return 0.5 * (torch.exp(difference) - 1 - difference + apart)


def _vrnn(network: Vrnn, frames: Tensor, split: int, generator: torch.Generator) -> tuple[Tensor, State]:
    noise = torch.randn(len(frames), frames.shape[1] - 1, network.noise_size, generator=generator)
    seen = network.unroll(frames, noise.to(frames.device))
    target = _blurred(seen.target, generator)
    divergence = gaussian_kl(seen.posterior, seen.prior).sum(-1)
    loss = (divergence + gaussian_nll(target, seen.decoded).sum(-1)).mean() / DIMENSIONS
    return loss, State(seen.hidden[:, split - 2][None], frames[:, split - 1])


def _gru_nf(network: GruNf, frames: Tensor, split: int, generator: torch.Generator) -> tuple[Tensor, State]:
    past, state = network.follow(None, frames[:, :split])
    rest, _ = network.follow(state, frames[:, split:])
    hidden = torch.cat([past, rest], dim=1)[:, :-1]
    target = _blurred(network.scaling.target(frames[:, 1:], frames[:, :-1]), generator)
    return -network.flow.log_prob(target, hidden).mean() / DIMENSIONS, state


def _blurred(target: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(target.shape, generator=generator).to(target.device)
    return target.clamp(-LIMIT, LIMIT) + DEQUANTISATION * noise
