"""A conditioned RealNVP flow: an exact density over n numbers given a condition.

Dinh et al., "Density estimation using Real NVP" (ICLR 2017); conditioning by concatenation as in Rasul et
al., "Multivariate Probabilistic Time Series Forecasting via Conditioned Normalizing Flows" (ICLR 2021).
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from models.forecast.config import EPSILON, LOG_SCALE
from models.forecast.recurrent import perceptron

MOMENTUM = 0.05


class Coupling(nn.Module):
    """Keeps every second number; scales and shifts the others by what the kept and the condition say.

    y_changed = x_changed * exp(s(x_kept, h)) + t(x_kept, h), equations 20-23 of the paper. `parity` 0 keeps
    the even numbers, 1 the odd ones.
    """

    def __init__(self, size: int, condition: int, inner: int, depth: int, parity: int) -> None:
        super().__init__()
        self._parity = parity
        kept = (size + 1 - parity) // 2
        self.scale = perceptron(kept + condition, inner, size - kept, depth, nn.Tanh)
        self.translation = perceptron(kept + condition, inner, size - kept, depth, nn.ReLU)
        for net in (self.scale, self.translation):
            # A block starts as the identity: a deep stack is trainable from the first step.
            for parameter in net[-1].parameters():
                nn.init.zeros_(parameter)

    def forward(self, values: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Map `values` (..., n) towards the base: the result and its log-determinant (...)."""
        kept, changed = self._split(values)
        log_scale, shift = self._nets(kept, condition)
        return self._join(kept, changed * torch.exp(log_scale) + shift), log_scale.sum(-1)

    def inverse(self, values: Tensor, condition: Tensor) -> Tensor:
        """Undo `forward`."""
        kept, changed = self._split(values)
        log_scale, shift = self._nets(kept, condition)
        return self._join(kept, (changed - shift) * torch.exp(-log_scale))

    def _nets(self, kept: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        inputs = torch.cat([kept, condition], dim=-1)
        return LOG_SCALE * torch.tanh(self.scale(inputs) / LOG_SCALE), self.translation(inputs)

    def _split(self, values: Tensor) -> tuple[Tensor, Tensor]:
        return values[..., self._parity :: 2], values[..., 1 - self._parity :: 2]

    def _join(self, kept: Tensor, changed: Tensor) -> Tensor:
        values = kept.new_empty(*kept.shape[:-1], kept.shape[-1] + changed.shape[-1])
        values[..., self._parity :: 2], values[..., 1 - self._parity :: 2] = kept, changed
        return values


class FlowNorm(nn.Module):
    """Invertible batch normalisation between couplings, its log-determinant counted.

    In training the forward direction normalises by the batch and follows its statistics slowly; everything
    else, the inverse included, uses the running ones.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.log_gain = nn.Parameter(torch.zeros(size))
        self.bias = nn.Parameter(torch.zeros(size))
        self.register_buffer("running_mean", torch.zeros(size))
        self.register_buffer("running_var", torch.ones(size))

    def forward(self, values: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Map `values` (..., n) towards the base: the result and its log-determinant, one for all."""
        mean, var = self._statistics(values) if self.training else (self.running_mean, self.running_var)
        log_scale = self.log_gain - 0.5 * torch.log(var + EPSILON)
        return (values - mean) * torch.exp(log_scale) + self.bias, log_scale.sum()

    def inverse(self, values: Tensor, condition: Tensor) -> Tensor:  # noqa: ARG002
        """Undo `forward` as it is outside of training."""
        log_scale = self.log_gain - 0.5 * torch.log(self.running_var + EPSILON)
        return (values - self.bias) * torch.exp(-log_scale) + self.running_mean

    def _statistics(self, values: Tensor) -> tuple[Tensor, Tensor]:
        flat = values.reshape(-1, values.shape[-1])
        var, mean = torch.var_mean(flat, dim=0, correction=0)
        with torch.no_grad():
            self.running_mean.lerp_(mean, MOMENTUM)
            self.running_var.lerp_(var, MOMENTUM)
        return mean, var


class Flow(nn.Module):
    """`blocks` couplings with alternating halves and normalisations between them; the base is N(0, I)."""

    def __init__(self, size: int, condition: int, blocks: int, inner: int, depth: int) -> None:
        super().__init__()
        self.size = size
        layers: list[Coupling | FlowNorm] = []
        for index in range(blocks):
            layers += [Coupling(size, condition, inner, depth, parity=index % 2), FlowNorm(size)]
        self.layers = nn.ModuleList(layers[:-1])

    def forward(self, values: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Map `values` (..., n) given `condition` (..., c) to z (..., n) and log |det dz/dvalues| (...)."""
        log_determinant = values.new_zeros(values.shape[:-1])
        for layer in self.layers:
            values, change = layer(values, condition)
            log_determinant = log_determinant + change
        return values, log_determinant

    def inverse(self, base: Tensor, condition: Tensor) -> Tensor:
        """Map `base` (..., n) back to values (..., n)."""
        for layer in reversed(self.layers):
            base = cast(Coupling | FlowNorm, layer).inverse(base, condition)
        return base

    def log_prob(self, values: Tensor, condition: Tensor) -> Tensor:
        """Return the exact log-density (...) of `values` (..., n), equation 29 of the paper."""
        base, log_determinant = self(values, condition)
        normal = -0.5 * (base.square().sum(-1) + self.size * math.log(2 * math.pi))
        result: Tensor = normal + log_determinant
        return result
