"""How far received pictures are from sent ones, and what a network's arithmetic amounts to."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.inference import to_tensor
from models.perceptual import Perceptual
from shared.errors import RequestError
from shared.keypoints import Pictures

UTILISATION = 0.6
_EXTRA = "the measuring extra is not installed; install it with: pip install 'keycast[bench]'"


def mae(a: Pictures, b: Pictures) -> float:
    """Return the mean absolute difference of two uint8 pictures of one shape, in [0, 1]."""
    return float(np.abs(a.astype(np.int16) - b).mean()) / 255


def ssim(a: Pictures, b: Pictures) -> float:
    """Return the structural similarity of two pictures (H, W, 3) uint8, at most 1; scikit-image's defaults.

    Raises RequestError where scikit-image is not installed.
    """
    return float(_structural_similarity()(a, b, channel_axis=-1, data_range=255))


def _structural_similarity() -> Callable[..., float]:
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise RequestError(f"SSIM needs scikit-image, but {_EXTRA}.") from error
    function: Callable[..., float] = structural_similarity
    return function


class Distances:
    """Running means of the distances of pairs of pictures: one `add` a frame, `row` at the end.

    Raises RequestError where scikit-image or the perceptual network is missing.
    """

    def __init__(self, perceptual: Path | None = None, device: str = "cpu", with_ssim: bool = True) -> None:
        self._perceptual = None if perceptual is None else PerceptualDistance(perceptual, device)
        self._with_ssim = with_ssim
        if with_ssim:
            _structural_similarity()  # what is missing is told before the work, not after it
        self._sums = {"mae": 0.0, "ssim": 0.0, "perceptual": 0.0}
        self.count = 0

    def add(self, source: Pictures, received: Pictures) -> None:
        """Take in one pair (H, W, 3), uint8 RGB."""
        self.count += 1
        self._sums["mae"] += mae(source, received)
        self._sums["ssim"] += ssim(source, received) if self._with_ssim else math.nan
        self._sums["perceptual"] += self._perceptual(source, received) if self._perceptual else math.nan

    def row(self) -> dict[str, float]:
        """Return `mae` and `ssim` and `perceptual`, the means so far; NaN for what was not measured."""
        return {name: total / self.count if self.count else math.nan for name, total in self._sums.items()}


class PerceptualDistance:
    """The SqueezeNet perceptual distance of two pictures, with the network's weights at `path`."""

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self._network = Perceptual(path).to(device).eval()
        self._device = device

    @torch.inference_mode()
    def __call__(self, a: Pictures, b: Pictures) -> float:
        """Return the distance of two pictures (H, W, 3), uint8 RGB; 0 for equal ones."""
        pair = [to_tensor(picture[None], self._device, torch.float32) for picture in (a, b)]
        return float(self._network(*pair))


class _Traced(nn.Module):
    """Gives a function of tensors, and the network it belongs to, the form that fvcore takes."""

    def __init__(self, network: nn.Module, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.network = network
        self._function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self._function(*inputs)


def operations(network: nn.Module, function: Callable[..., Tensor], *inputs: Tensor) -> int:
    """Return the multiply-accumulates that fvcore counts in `function(*inputs)`, a pass through `network`.

    fvcore calls one multiply-accumulate one FLOP. GRU cells, which it passes over, are counted here. Raises
    RequestError where fvcore is not installed.
    """
    with warnings.catch_warnings():
        # fvcore is built on torch's tracer, which torch has deprecated.
        warnings.simplefilter("ignore")
        return _count(_Traced(network, function).eval(), inputs)


def _count(network: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    try:
        from fvcore.nn import FlopCountAnalysis
    except ImportError as error:
        raise RequestError(f"Counting operations needs fvcore, but {_EXTRA}.") from error
    logger = logging.getLogger("fvcore")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with torch.no_grad():
            analysis = FlopCountAnalysis(network, inputs)
            analysis.set_op_handle("aten::gru_cell", _count_gru_cell)
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
            return int(analysis.total())
    finally:
        logger.setLevel(before)


def tops(macs_per_frame: float, fps: float = 30.0, utilisation: float = UTILISATION) -> float:
    """Return the tera-operations a second that a device must be rated for, to do this at `fps`.

    TOPS = operations per output frame x fps / (utilisation x 10^12), at 60 % utilisation by default.
    """
    return macs_per_frame * fps / (utilisation * 1e12)


def parameters(network: nn.Module) -> int:
    """Return how many trained numbers `network` has."""
    return sum(parameter.numel() for parameter in network.parameters())


def _count_gru_cell(inputs: list[Any], _outputs: list[Any]) -> int:
    """Count aten::gru_cell(input, hidden, weight_ih, weight_hh, ...): both matrix products, per row."""
    rows = inputs[0].type().sizes()[0]
    return int(rows * sum(math.prod(weight.type().sizes()) for weight in inputs[2:4]))
