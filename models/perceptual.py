"""A distance between pictures in the features of a SqueezeNet, for training and for measuring."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from shared.errors import RequestError


class Perceptual(nn.Module):
    """Distance in SqueezeNet v1.1 features (torchvision's names; RGB in [0, 1], normalisation folded in).

    The mean over five depths of the squared distance of unit-length feature vectors, as LPIPS without its
    calibrated heads (Zhang et al., CVPR 2018); call it the SqueezeNet perceptual distance.
    """

    _FIRES = (3, 4, 6, 7, 9, 10, 11, 12)
    _POOLS = (2, 5, 8)
    _TAPS = (1, 4, 7, 10, 12)

    def __init__(self, path: Path) -> None:
        super().__init__()
        try:
            weights = load_file(str(path))
        except (OSError, SafetensorError) as error:
            raise RequestError(f"Could not read the perceptual network {path}: {error}.") from error
        if {name: tuple(tensor.shape) for name, tensor in weights.items()} != self._shapes():
            raise RequestError(
                f"{path} does not hold the convolutions of SqueezeNet v1.1; give a file that does."
            )
        for name, tensor in weights.items():
            layout = torch.channels_last if tensor.dim() == 4 else torch.contiguous_format
            weight = tensor.float().contiguous(memory_format=layout)
            self.register_buffer(name.replace(".", "_"), weight, persistent=False)

    @classmethod
    def _shapes(cls) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor by name."""
        shapes: dict[str, tuple[int, ...]] = {"features.0.weight": (64, 3, 3, 3), "features.0.bias": (64,)}
        inputs = 64
        for layer, squeeze in zip(cls._FIRES, (16, 16, 32, 32, 48, 48, 64, 64), strict=True):
            parts = {"squeeze": (squeeze, inputs, 1), "expand1x1": (4 * squeeze, squeeze, 1),
                     "expand3x3": (4 * squeeze, squeeze, 3)}  # fmt: skip
            for part, (outputs, ins, side) in parts.items():
                shapes[f"features.{layer}.{part}.weight"] = (outputs, ins, side, side)
                shapes[f"features.{layer}.{part}.bias"] = (outputs,)
            inputs = 8 * squeeze
        return shapes

    def _conv(self, x: Tensor, name: str, padding: int = 0, stride: int = 1) -> Tensor:
        weight, bias = self.get_buffer(f"{name}_weight"), self.get_buffer(f"{name}_bias")
        return torch.relu(F.conv2d(x, weight, bias, stride=stride, padding=padding))

    def features(self, picture: Tensor) -> list[Tensor]:
        """Return the features of (B, 3, H, W) at five depths."""
        picture = picture.contiguous(memory_format=torch.channels_last)
        x = self._conv(picture, "features_0", stride=2)
        taps = []
        for layer in range(1, 13):
            if layer in self._POOLS:
                x = F.max_pool2d(x, 3, 2, ceil_mode=True)
            elif layer in self._FIRES:
                squeezed = self._conv(x, f"features_{layer}_squeeze")
                wide = self._conv(squeezed, f"features_{layer}_expand3x3", padding=1)
                x = torch.cat([self._conv(squeezed, f"features_{layer}_expand1x1"), wide], dim=1)
            if layer in self._TAPS:
                taps.append(x)
        return taps

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the distance (a scalar) of two batches of pictures.

        `weight` (B, 1, H, W) is how much each place counts, 1 being usual; each depth has it averaged.
        """
        with torch.no_grad():
            wanted = [F.normalize(t, dim=1) for t in self.features(target)]
        got = [F.normalize(t, dim=1) for t in self.features(prediction)]
        maps = [(a - b).square().sum(1, keepdim=True) for a, b in zip(got, wanted, strict=True)]
        if weight is not None:
            maps = [m * F.adaptive_avg_pool2d(weight, (m.shape[2], m.shape[3])) for m in maps]
        return torch.stack([m.mean() for m in maps]).mean()
