"""The head finder's network in NumPy: a few small convolutions, for which no torch has to be loaded.

Pictures are (H, W, C), float32. Layers and weights are those of `models.head.network`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from models.head.head_config import OUTPUTS, HeadConfig
from models.stored import Weights
from shared.keypoints import Floats

Layer = Callable[[Floats], Floats]
# torch's own, of batch norms.
_EPSILON = 1e-5
_TAPS = tuple((row, column) for row in range(3) for column in range(3))


class HeadLayers:
    """Pictures (H, W, 3) in [0, 1] to cells (H/8, W/8, 4); see `models.head.network.HeadNetwork`."""

    def __init__(self, config: HeadConfig, weights: Weights) -> None:
        half, quarter, eighth, coarse = config.channels
        self._fine = _chain(
            _dense(weights, "fine.0", 3, half),
            _separable(weights, "fine.1", half, quarter, 2),
            _separable(weights, "fine.2", quarter, quarter),
            _separable(weights, "fine.3", quarter, eighth, 2),
            _separable(weights, "fine.4", eighth, eighth),
            _separable(weights, "fine.5", eighth, eighth),
        )
        self._coarse = _chain(
            _separable(weights, "coarse.0", eighth, coarse, 2),
            _separable(weights, "coarse.1", coarse, coarse),
            _separable(weights, "coarse.2", coarse, coarse),
            _plain(weights, "back", coarse, eighth),
        )
        self._joined = _chain(
            _separable(weights, "joined.0", eighth, eighth),
            _separable(weights, "joined.1", eighth, eighth),
            _plain(weights, "out", eighth, OUTPUTS),
        )
        weights.check_all_taken()

    def __call__(self, picture: Floats) -> Floats:
        """See the class."""
        fine = self._fine(picture - np.float32(0.5))
        coarse = self._coarse(fine)
        rows, columns = (_nearest(*sizes) for sizes in zip(fine.shape[:2], coarse.shape[:2], strict=True))
        return self._joined(fine + coarse[rows[:, None], columns])


def _chain(*layers: Layer) -> Layer:
    def run(x: Floats) -> Floats:
        for layer in layers:
            x = layer(x)
        return x

    return run


def _dense(weights: Weights, name: str, inputs: int, outputs: int) -> Layer:
    """Return a 3x3 convolution to half the size, its norm and a ReLU."""
    kernel = weights.take(f"{name}.0.weight", outputs, inputs, 3, 3).transpose(2, 3, 1, 0)
    gain, shift = _norm(weights, f"{name}.1", outputs)
    kernel = kernel * gain

    def run(x: Floats) -> Floats:
        return _relu(sum((part @ kernel[tap] for tap, part in _parts(x, 2)), start=shift))

    return run


def _separable(weights: Weights, name: str, inputs: int, outputs: int, stride: int = 1) -> Layer:
    """Return a depthwise 3x3 convolution and a pointwise one, each with its norm and a ReLU."""
    kernel = weights.take(f"{name}.0.0.weight", inputs, 1, 3, 3)[:, 0].transpose(1, 2, 0)
    gain, shift = _norm(weights, f"{name}.0.1", inputs)
    kernel = kernel * gain
    matrix = weights.take(f"{name}.1.0.weight", outputs, inputs, 1, 1)[:, :, 0, 0].T
    gain, bias = _norm(weights, f"{name}.1.1", outputs)
    matrix = np.ascontiguousarray(matrix * gain)

    def run(x: Floats) -> Floats:
        spread = _relu(sum((part * kernel[tap] for tap, part in _parts(x, stride)), start=shift))
        return _relu(spread @ matrix + bias)

    return run


def _plain(weights: Weights, name: str, inputs: int, outputs: int) -> Layer:
    """Return a pointwise convolution."""
    matrix = np.ascontiguousarray(weights.take(f"{name}.weight", outputs, inputs, 1, 1)[:, :, 0, 0].T)
    bias = weights.take(f"{name}.bias", outputs)
    return lambda x: x @ matrix + bias


def _norm(weights: Weights, name: str, channels: int) -> tuple[Floats, Floats]:
    """Return what a batch norm multiplies by and adds (channels,)."""
    weight, bias, mean, variance = (
        weights.take(f"{name}.{part}", channels) for part in ("weight", "bias", "running_mean", "running_var")
    )
    weights.skip(f"{name}.num_batches_tracked")
    gain: Floats = weight / np.sqrt(variance + np.float32(_EPSILON))
    return gain, bias - mean * gain


def _parts(x: Floats, stride: int) -> Iterator[tuple[tuple[int, int], Floats]]:
    """Yield for each place of a 3x3 kernel what of x (H, W, C), zeros around it, lies under it."""
    height, width, channels = x.shape
    wide = np.zeros((height + 2, width + 2, channels), np.float32)
    wide[1:-1, 1:-1] = x
    for row, column in _TAPS:
        yield (row, column), wide[row : row + height : stride, column : column + width : stride]


def _nearest(size: int, given: int) -> npt.NDArray[np.intp]:
    """Return which of `given` rows each of `size` rows is, as torch's nearest interpolation counts."""
    rows: npt.NDArray[np.intp] = np.floor(np.arange(size) * np.float32(given / size)).astype(np.intp)
    return rows


def _relu(x: Floats) -> Floats:
    positive: Floats = np.maximum(x, np.float32(0))
    return positive
