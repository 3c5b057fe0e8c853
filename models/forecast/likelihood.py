"""Likelihood of observed keypoints, frame by frame, and what counts as ordinary."""

from __future__ import annotations

from typing import Protocol, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.forecast.checks import check_frames
from models.forecast.vrnn import Vrnn
from shared.keypoints import Floats

Doubles = npt.NDArray[np.float64]


class Likelihood(Protocol):
    """A network with an exact density: p(frame | past frames), and what that is on ordinary footage.

    Buffer `ordinary` (3,): of the surprise on videos of people that were not trained on, the median, and the
    spreads below and above it (medians of the distances on that side, times 1.4826: standard deviations where
    the surprise is Gaussian).
    """

    ordinary: Tensor

    def log_prob(self, frames: Tensor) -> Tensor:
        """Return log p(frame t | frames before t) for t = 1 .. T-1, (B, T-1), of `frames` (B, T, D).

        In nats, a density in keypoint units.
        """
        ...


def unknown() -> Tensor:
    """Return the `ordinary` of a network that has not been calibrated."""
    return torch.tensor([0.0, 1.0, 1.0])


def log_likelihood(network: Likelihood, frames: Floats) -> Doubles:
    """Return the exact log p(frame t | frames before t), (T-1,), t = 1 .. T-1, of `frames` (T, D), T >= 2.

    In nats, a density in keypoint units: their sum is that of the sequence given its first frame.
    """
    frames = check_frames(frames)
    if len(frames) < 2:
        raise ValueError("a likelihood needs at least 2 frames")
    with torch.inference_mode():
        device = network.ordinary.device
        found = network.log_prob(torch.from_numpy(frames)[None].to(device))[0]
    return cast(Doubles, found.double().cpu().numpy())


def lower_bound(network: Vrnn, frames: Floats, seed: int = 0) -> Doubles:
    """Return the evidence lower bound (T-1,) of `frames` (T, D), T >= 2, of one draw of the latents.

    Units as those of `log_likelihood`, of which the sum is on average at least that of these.
    """
    frames = check_frames(frames)
    if len(frames) < 2:
        raise ValueError("a bound needs at least 2 frames")
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(1, len(frames) - 1, network.noise_size, generator=generator)
    with torch.inference_mode():
        device = network.scaling.mean.device
        found = network.elbo(torch.from_numpy(frames)[None].to(device), noise.to(device))[0]
    return cast(Doubles, found.double().cpu().numpy())


def surprise(network: Likelihood, frames: Floats) -> Doubles:
    """Return how surprising each of `frames` (T, D) is given the ones before: z-scores (T,), the first 0.

    -log p per number, less its median on ordinary footage, over its spread on that side of the median: 3 is a
    frame three standard deviations less likely than usual, -3 one that fits its past suspiciously well.
    """
    value = -log_likelihood(network, frames) / frames.shape[1]
    median, below, above = network.ordinary.double().tolist()
    z = (value - median) / np.where(value < median, below, above)
    return np.concatenate([[0.0], z])


def ordinary(values: Doubles) -> tuple[float, float, float]:
    """Return median, spread below and spread above of `values` (n,), as `Likelihood.ordinary` keeps them."""
    median = float(np.median(values))
    below = np.median(median - values[values <= median])
    above = np.median(values[values >= median] - median)
    return median, max(1.4826 * float(below), 1e-6), max(1.4826 * float(above), 1e-6)
