"""A variational recurrent network for keypoints.

Chung et al., "A Recurrent Latent Variable Model for Sequential Data" (NeurIPS 2015), with a single-layer GRU.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.forecast.config import LOG_VARIANCE, SPREADS, VrnnConfig
from models.forecast.recurrent import ForecastNetwork, State, perceptron

__all__ = ["SPREADS", "Gaussian", "Unrolled", "Vrnn", "VrnnConfig", "gaussian", "gaussian_kl", "gaussian_nll"]


class Gaussian(NamedTuple):
    """A diagonal Gaussian: `mean` and `log_variance`, both (..., n)."""

    mean: Tensor
    log_variance: Tensor

    def at(self, noise: Tensor) -> Tensor:
        """Return the sample that standard normal `noise` (..., n) stands for."""
        return self.mean + noise * torch.exp(0.5 * self.log_variance)


class Unrolled(NamedTuple):
    """One pass over true frames; all (B, T-1, ...), for the frames from the second on.

    `hidden` (B, T-1, H) is the state after each of them; `target` (B, T-1, D) what `decoded` ought to be.
    """

    prior: Gaussian
    posterior: Gaussian
    decoded: Gaussian
    target: Tensor
    hidden: Tensor


class Vrnn(ForecastNetwork):
    """Equations 13-16 of the paper. A single prediction takes the prior's and the decoder's mean.

    A sample draws the latent from the prior and takes the decoder's mean: the latent carries what differs
    between futures, and the decoder's variance is frame-to-frame jitter that nobody wants to see.
    """

    def __init__(self, config: VrnnConfig, dimensions: int) -> None:
        super().__init__(config.predict, dimensions, layers=1, hidden=config.hidden)
        self.noise_size = config.latent
        width, hidden, inner = config.features, config.hidden, config.inner
        self.from_frame = nn.Sequential(nn.Linear(dimensions, width), nn.ReLU())
        self.from_latent = nn.Sequential(nn.Linear(config.latent, width), nn.ReLU())
        self.prior = perceptron(hidden, inner, 2 * config.latent, 2, nn.ReLU)
        self.posterior = perceptron(width + hidden, inner, 2 * config.latent, 2, nn.ReLU)
        self._learned = config.spread == "learned"
        decoded = (2 if self._learned else 1) * dimensions
        self.decoder = perceptron(width + hidden, inner, decoded, 2, nn.ReLU)
        self.cell = nn.GRUCell(2 * width, hidden)

    def observe(self, state: State, frame: Tensor) -> State:
        """Return the state after the true `frame` (B, D), with the posterior's mean as latent."""
        hidden = state.hidden[0]
        seen = self.from_frame(self.scaling.describe(frame, state.last))
        latent = gaussian(self.posterior(torch.cat([seen, hidden], dim=-1))).mean
        return State(self._update(seen, self.from_latent(latent), hidden)[None], frame)

    def advance(self, state: State, noise: Tensor | None = None) -> State:
        """Predict one frame from the prior's mean, or from a sample of it if `noise` (B, latent) is given."""
        hidden = state.hidden[0]
        prior = gaussian(self.prior(hidden))
        latent = self.from_latent(prior.mean if noise is None else prior.at(noise))
        predicted = self.decode(torch.cat([latent, hidden], dim=-1)).mean
        frame = self.scaling.frame(predicted, state.last)
        seen = self.from_frame(self.scaling.describe(frame, state.last))
        return State(self._update(seen, latent, hidden)[None], frame)

    def unroll(self, frames: Tensor, noise: Tensor) -> Unrolled:
        """Follow true `frames` (B, T, D), T >= 2, with latents sampled by `noise` (B, T-1, latent).

        The first frame only sets the state: nothing before it says where a person sits.
        """
        after, before = frames[:, 1:], frames[:, :-1]
        hidden = self.observe(self.start(frames[:, 0]), frames[:, 0]).hidden[0]
        seen = self.from_frame(self.scaling.describe(after, before))
        hiddens, codes, raws = [hidden], [], []
        for index in range(seen.shape[1]):
            raw = self.posterior(torch.cat([seen[:, index], hidden], dim=-1))
            latent = self.from_latent(gaussian(raw).at(noise[:, index]))
            hidden = self._update(seen[:, index], latent, hidden)
            hiddens.append(hidden)
            codes.append(latent)
            raws.append(raw)
        past = torch.stack(hiddens[:-1], dim=1)
        return Unrolled(
            prior=gaussian(self.prior(past)),
            posterior=gaussian(torch.stack(raws, dim=1)),
            decoded=self.decode(torch.cat([torch.stack(codes, dim=1), past], dim=-1)),
            target=self.scaling.target(after, before),
            hidden=torch.stack(hiddens[1:], dim=1),
        )

    def decode(self, known: Tensor) -> Gaussian:
        """Return the density (..., D) of what is predicted, from latent features and state (..., n)."""
        raw: Tensor = self.decoder(known)
        return (
            gaussian(raw)
            if self._learned
            else Gaussian(raw, self.scaling.frame_log_variance().expand_as(raw))
        )

    def elbo(self, frames: Tensor, noise: Tensor) -> Tensor:
        """Return the evidence lower bound (B, T-1) of each of `frames` (B, T, D) given those before it.

        In nats, of a density in keypoint units (equation 17), with latents sampled by standard normal `noise`
        (B, T-1, latent): on average at most log p(frame t | frames before t) over a sequence.
        """
        seen = self.unroll(frames, noise)
        divergence = gaussian_kl(seen.posterior, seen.prior).sum(-1)
        return self.scaling.log_determinant() - gaussian_nll(seen.target, seen.decoded).sum(-1) - divergence

    def _update(self, seen: Tensor, latent: Tensor, hidden: Tensor) -> Tensor:
        updated: Tensor = self.cell(torch.cat([seen, latent], dim=-1), hidden)
        return updated


def gaussian(raw: Tensor) -> Gaussian:
    """Split a network's output (..., 2n) into a Gaussian over n numbers with a bounded variance."""
    mean, spread = raw.chunk(2, dim=-1)
    return Gaussian(mean, LOG_VARIANCE * torch.tanh(spread / LOG_VARIANCE))


def gaussian_nll(values: Tensor, density: Gaussian) -> Tensor:
    """Return -log N(values; density), elementwise."""
    spread = density.log_variance
    return 0.5 * (spread + (values - density.mean).square() * torch.exp(-spread) + math.log(2 * math.pi))


def gaussian_kl(left: Gaussian, right: Gaussian) -> Tensor:
    """Return KL(left || right), elementwise, of two diagonal Gaussians."""
    difference = left.log_variance - right.log_variance
    apart = (left.mean - right.mean).square() * torch.exp(-right.log_variance)
    return 0.5 * (torch.exp(difference) - 1 - difference + apart)
