"""Distance of received pictures from sent ones, and the cost of a network's arithmetic."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.inference import to_tensor
from models.perceptual import Perceptual
from shared.errors import RequestError
from shared.keypoints import Pictures

Figures = npt.NDArray[np.float64]
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


def check_ssim() -> None:
    """Raise RequestError where scikit-image, which measures SSIM, is not installed."""
    _structural_similarity()


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
            check_ssim()  # what is missing is reported before the work, not after it
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
        return float(self.between(a[None], b[None])[0][0])

    @torch.inference_mode()
    def between(self, truth: Pictures, *candidates: Pictures) -> list[Figures]:
        """Return the distance of each of the pictures `truth` (B, H, W, 3) to that in each of `candidates`.

        A candidate is (B, H, W, 3), or (1, H, W, 3) for the same picture throughout; its distances are (B,).
        The features of the truth are computed once.
        """
        wanted = self._features(truth)
        return [_feature_distance(wanted, self._features(pictures)) for pictures in candidates]

    def _features(self, pictures: Pictures) -> list[Tensor]:
        return self._network.features(to_tensor(pictures, self._device, torch.float32))


def _feature_distance(a: list[Tensor], b: list[Tensor]) -> Figures:
    """Return what `models.perceptual.Perceptual` returns, for each picture of a batch: (B,)."""
    depths = [
        (F.normalize(x, dim=1) - F.normalize(y, dim=1)).square().sum(1).mean((1, 2))
        for x, y in zip(a, b, strict=True)
    ]
    distances: Figures = torch.stack(depths).mean(0).double().cpu().numpy()
    return distances


def compare(
    truth: Pictures, candidates: Mapping[str, Pictures], perceptual: PerceptualDistance | None = None
) -> dict[str, Figures]:
    """Measure each of `candidates` against the pictures `truth` (B, H, W, 3), uint8 RGB, frame by frame.

    A candidate is (B, H, W, 3), or (1, H, W, 3) for one picture throughout. Returns, for each, `mae`, `ssim`
    and `perceptual` (B,), with the candidate's name before it; perceptual is NaN where there is no network.
    """
    figures: dict[str, Figures] = {}
    nothing = np.full(len(truth), np.nan)
    found = (
        [nothing] * len(candidates) if perceptual is None else perceptual.between(truth, *candidates.values())
    )
    for (name, pictures), distances in zip(candidates.items(), found, strict=True):
        pairs = list(zip(truth, np.broadcast_to(pictures, truth.shape), strict=True))
        figures[f"{name}mae"] = np.array([mae(*pair) for pair in pairs])
        figures[f"{name}ssim"] = np.array([ssim(*pair) for pair in pairs])
        figures[f"{name}perceptual"] = distances
    return figures


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

    fvcore calls one multiply-accumulate one FLOP. GRU cells and added products, which it passes over, are
    counted here. Raises RequestError where fvcore is not installed.
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
            analysis.set_op_handle("aten::baddbmm_", _count_baddbmm)
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
            return int(analysis.total())
    finally:
        logger.setLevel(before)


def tops(macs_per_frame: float, fps: float = 30.0, utilisation: float = UTILISATION) -> float:
    """Return the tera-operations per second that a device must be rated for, to do this at `fps`.

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


def _count_baddbmm(inputs: list[Any], _outputs: list[Any]) -> int:
    """Count aten::baddbmm_(sum, a (B, N, M), b (B, M, P)): B N M P."""
    batch, rows, inner = inputs[1].type().sizes()
    return int(batch * rows * inner * inputs[2].type().sizes()[2])
