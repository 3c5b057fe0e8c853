"""Losses of the lite backbone: pyramid and gradient L1, SqueezeNet features, equivariance under affine warps."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from models.lite.geometry import inverse_2x2, pixel_grid
from models.lite.network import Points
from shared.errors import RequestError


def pyramid_l1(prediction: Tensor, target: Tensor, levels: int = 4) -> Tensor:
    """Mean over a pyramid of the L1 distance of pixels plus that of their horizontal and vertical differences."""
    total = prediction.new_zeros(())
    for level in range(levels):
        if level:
            prediction, target = F.avg_pool2d(prediction, 2), F.avg_pool2d(target, 2)
        difference = prediction - target
        total = total + difference.abs().mean()
        total = total + (difference[..., 1:] - difference[..., :-1]).abs().mean()
        total = total + (difference[..., 1:, :] - difference[..., :-1, :]).abs().mean()
    return total / levels


class AffineWarp:
    """One random affine map of the plane for each picture of a batch: rotation, scale, shear and shift."""

    def __init__(self, batch: int, like: Tensor) -> None:
        def uniform(low: float, high: float) -> Tensor:
            return torch.empty(batch, device=like.device).uniform_(low, high)

        angle, scale, shear = uniform(-0.5, 0.5), uniform(0.8, 1.25), uniform(-0.15, 0.15)
        cos, sin = torch.cos(angle), torch.sin(angle)
        rows = [scale * cos, scale * (shear * cos - sin), scale * sin, scale * (shear * sin + cos)]
        self.matrix = torch.stack(rows, dim=-1).reshape(batch, 2, 2)
        self.shift = torch.stack([uniform(-0.15, 0.15), uniform(-0.15, 0.15)], dim=-1)

    def warp(self, picture: Tensor) -> Tensor:
        """Return the picture Y with Y(z) = X(A z + b)."""
        grid = pixel_grid(*picture.shape[2:], self.matrix)
        flow = torch.einsum("bij,hwj->bhwi", self.matrix, grid) + self.shift[:, None, None]
        return F.grid_sample(picture, flow.to(picture.dtype), padding_mode="reflection", align_corners=False)

    def apply(self, points: Points) -> Points:
        """Carry points found in Y back to X."""
        value = torch.einsum("bij,bkj->bki", self.matrix, points.value) + self.shift[:, None]
        return Points(value, self.matrix[:, None] @ points.jacobian)


def equivariance(plain: Points, warped: Points, warp: AffineWarp) -> tuple[Tensor, Tensor]:
    """Equivariance losses of value and Jacobian (Siarohin et al., NeurIPS 2019, section 3.3), affine warps."""
    back = warp.apply(warped)
    identity = torch.eye(2, device=back.jacobian.device)
    jacobian = (inverse_2x2(plain.jacobian) @ back.jacobian - identity).abs().mean()
    return (plain.value - back.value).abs().mean(), jacobian


class Perceptual(nn.Module):
    """Distance in SqueezeNet v1.1 features (torchvision's names; input RGB in [0, 1], normalisation folded in).

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
        for name, tensor in weights.items():
            self.register_buffer(name.replace(".", "_"), tensor.float(), persistent=False)

    def _conv(self, x: Tensor, name: str, padding: int = 0, stride: int = 1) -> Tensor:
        weight, bias = self.get_buffer(f"{name}_weight"), self.get_buffer(f"{name}_bias")
        return torch.relu(F.conv2d(x, weight, bias, stride=stride, padding=padding))

    def features(self, picture: Tensor) -> list[Tensor]:
        """Return the features of (B, 3, H, W) at five depths."""
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

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the distance (a scalar) of two batches of pictures."""
        with torch.no_grad():
            wanted = [F.normalize(t, dim=1) for t in self.features(target)]
        got = [F.normalize(t, dim=1) for t in self.features(prediction)]
        return torch.stack([(a - b).square().sum(1).mean() for a, b in zip(got, wanted, strict=True)]).mean()
