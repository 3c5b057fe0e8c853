"""`models.forecast.flow` in NumPy: the way back from noise to values, which a forecast takes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models.forecast.config import EPSILON, LOG_SCALE
from models.forecast.served import joined, perceptron, relu
from models.stored import Weights
from shared.errors import RequestError
from shared.keypoints import Floats

Inverse = Callable[[Floats, Floats], Floats]


class ServedFlow:
    """`blocks` couplings with alternating halves and normalisations between them, backwards."""

    def __init__(  # noqa: PLR0917 - the sizes of a flow
        self, size: int, condition: int, blocks: int, inner: int, depth: int, weights: Weights
    ) -> None:
        layers: list[Inverse] = []
        for index in range(blocks):
            name = f"flow.layers.{2 * index}"
            layers.append(_coupling(weights, name, size, condition, (inner,) * (depth - 1), index % 2))
            if index < blocks - 1:
                layers.append(_norm(weights, f"flow.layers.{2 * index + 1}", size))
        self._layers = layers[::-1]

    def inverse(self, base: Floats, condition: Floats) -> Floats:
        """Map `base` (B, D) back to values (B, D)."""
        for layer in self._layers:
            base = layer(base, condition)
        return base


def check_calibration(weights: Weights) -> None:
    """Take what surprise is measured by (`models.forecast.likelihood`), which a forecast does without."""
    if not (weights.take("ordinary", 3)[1:] > 0).all():
        raise RequestError(f"the weights of {weights.name} measure surprise by no spread: use another file")


def _coupling(  # noqa: PLR0917 - the sizes of a coupling
    weights: Weights, name: str, size: int, condition: int, inner: tuple[int, ...], parity: int
) -> Inverse:
    known = (size + 1 - parity) // 2
    sizes = (known + condition, *inner, size - known)
    scale = perceptron(weights, f"{name}.scale", sizes, np.tanh)
    translation = perceptron(weights, f"{name}.translation", sizes, relu)
    kept, changed = slice(parity, None, 2), slice(1 - parity, None, 2)

    def run(values: Floats, given: Floats) -> Floats:
        seen = joined(values[:, kept], given)
        out = values.copy()
        log_scale = LOG_SCALE * np.tanh(scale(seen) / LOG_SCALE)
        out[:, changed] = (values[:, changed] - translation(seen)) * np.exp(-log_scale)
        return out

    return run


def _norm(weights: Weights, name: str, size: int) -> Inverse:
    gain, bias, mean, variance = (
        weights.take(f"{name}.{part}", size) for part in ("log_gain", "bias", "running_mean", "running_var")
    )
    factor = np.exp(0.5 * np.log(variance + np.float32(EPSILON)) - gain)
    return lambda values, _: (values - bias) * factor + mean
