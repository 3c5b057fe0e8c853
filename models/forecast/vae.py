"""A variational autoencoder that decodes a later frame than it encodes.

Kingma and Welling, "Auto-Encoding Variational Bayes" (ICLR 2014); equations 7-12 of the paper.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from models.forecast.config import VaeConfig
from models.forecast.lagged import LaggedNetwork
from models.forecast.recurrent import State, perceptron
from models.forecast.vrnn import Gaussian, gaussian


class Vae(LaggedNetwork):
    """A single prediction decodes the posterior's mean, a sample a draw from the posterior (equation 8)."""

    def __init__(self, config: VaeConfig, dimensions: int) -> None:
        super().__init__(config.predict, dimensions, config.lag)
        self.noise_size = config.latent
        self.encoder = perceptron(dimensions, config.inner, 2 * config.latent, 2, nn.ReLU)
        self.decoder = perceptron(config.latent, config.inner, dimensions, 2, nn.ReLU)

    def encode(self, seen: Tensor) -> Gaussian:
        """Return the posterior (..., latent) of what is `seen` (..., D)."""
        return gaussian(self.encoder(seen))

    def decode(self, latent: Tensor) -> Tensor:
        """Return the standardised prediction (..., D) of `latent` (..., n)."""
        return cast(Tensor, self.decoder(latent))

    def advance(self, state: State, noise: Tensor | None = None) -> State:
        """Predict one frame, from the mean of the latent or with `noise` (B, latent)."""
        posterior = self.encode(self.oldest(state))
        latent = posterior.mean if noise is None else posterior.at(noise)
        return self.observe(state, self.scaling.frame(self.decode(latent), state.last))
