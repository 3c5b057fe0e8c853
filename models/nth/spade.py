"""The decoder of the newer generator: spatially-adaptive normalisation (Park et al., CVPR 2019)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.nth.config import NthConfig


class SpectralConv2d(nn.Module):
    """A convolution whose weight is divided by u' W v, with the stored vectors u and v, W as (out, rest).

    That estimates the largest singular value of trained weights; it is the number, and not the estimate's
    truth, that the published networks were trained with (Miyato et al. 2018).
    """

    weight_u: Tensor
    weight_v: Tensor

    def __init__(self, in_features: int, out_features: int, size: int = 3, bias: bool = True) -> None:
        super().__init__()
        self.weight_orig = nn.Parameter(torch.empty(out_features, in_features, size, size))
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None
        nn.init.kaiming_normal_(self.weight_orig)
        self.register_buffer("weight_u", F.normalize(torch.randn(out_features), dim=0))
        self.register_buffer("weight_v", self.weight_u @ self.weight_orig.detach().flatten(1))
        self.weight_v = F.normalize(self.weight_v, dim=0)

    def weight(self) -> Tensor:
        """Return the weight that convolves."""
        size = torch.dot(self.weight_u, torch.mv(self.weight_orig.flatten(1), self.weight_v))
        return self.weight_orig / size

    def forward(self, x: Tensor) -> Tensor:
        """Convolve at the resolution of `x`."""
        return F.conv2d(x, self.weight(), self.bias, padding=self.weight_orig.shape[-1] // 2)

    def plain(self) -> nn.Conv2d:
        """Return the same convolution with its weight worked out."""
        out_features, in_features, size, _ = self.weight_orig.shape
        conv = nn.Conv2d(
            in_features, out_features, size, padding=size // 2, bias=self.bias is not None, device="meta"
        )
        conv.weight = nn.Parameter(self.weight().detach(), False)
        conv.bias = None if self.bias is None else nn.Parameter(self.bias.detach(), False)
        return conv


class Spade(nn.Module):
    """A norm without weights of its own: a map says, place by place, how to scale and shift."""

    def __init__(self, features: int, map_features: int, hidden: int) -> None:
        super().__init__()
        self.mlp_shared = nn.Sequential(nn.Conv2d(map_features, hidden, 3, padding=1), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(hidden, features, 3, padding=1)
        self.mlp_beta = nn.Conv2d(hidden, features, 3, padding=1)

    def forward(self, x: Tensor, where: Tensor) -> Tensor:
        """Norm `x` (B, C, H, W) by itself, and modulate it by `where` (B, map_features, H, W)."""
        seen = self.mlp_shared(where)
        scale, shift = self.mlp_gamma(seen), self.mlp_beta(seen)
        modulated: Tensor = F.instance_norm(x) * (1 + scale) + shift
        return modulated


class SpadeResBlock(nn.Module):
    """Residual block of modulated norms: (B, in, H, W) -> (B, out, H, W)."""

    def __init__(self, in_features: int, out_features: int, map_features: int, hidden: int) -> None:
        super().__init__()
        middle = min(in_features, out_features)
        self.conv_0 = SpectralConv2d(in_features, middle)
        self.conv_1 = SpectralConv2d(middle, out_features)
        self.norm_0 = Spade(in_features, map_features, hidden)
        self.norm_1 = Spade(middle, map_features, hidden)
        self.shortcut = in_features != out_features
        if self.shortcut:
            self.conv_s = SpectralConv2d(in_features, out_features, size=1, bias=False)
            self.norm_s = Spade(in_features, map_features, hidden)

    def forward(self, x: Tensor, where: Tensor) -> Tensor:
        """Add the shortcut to what the convolutions make of `x`, under the map `where` of its size."""
        out: Tensor = self.conv_0(F.leaky_relu(self.norm_0(x, where), 0.2))
        out = self.conv_1(F.leaky_relu(self.norm_1(out, where), 0.2))
        return out + (self.conv_s(self.norm_s(x, where)) if self.shortcut else x)


class SpadeDecoder(nn.Module):
    """Features (B, C, h, w), their own map, to pictures (B, channels, 4h, 4w) before the sigmoid."""

    def __init__(self, config: NthConfig, features: int, out_features: int) -> None:
        super().__init__()
        self.blocks, hidden = config.generator_blocks, config.spade_channels
        self.fc = nn.Conv2d(features, 2 * features, 3, padding=1)
        for index in range(self.blocks):
            setattr(self, f"G_middle_{index}", SpadeResBlock(2 * features, 2 * features, features, hidden))
        self.up_0 = SpadeResBlock(2 * features, features, features, hidden)
        self.up_1 = SpadeResBlock(features, out_features, features, hidden)
        self.conv_img = nn.Conv2d(out_features, config.num_channels, 3, padding=1)

    def middle(self, features: Tensor) -> Tensor:
        """Return what the blocks at the resolution of `features` make of them."""
        out: Tensor = self.fc(features)
        for index in range(self.blocks):
            out = getattr(self, f"G_middle_{index}")(out, features)
        return out

    def forward(self, features: Tensor) -> Tensor:
        """Draw, doubling the resolution twice."""
        out = self.middle(features)
        for block in (self.up_0, self.up_1):
            features, out = F.interpolate(features, scale_factor=2), F.interpolate(out, scale_factor=2)
            out = block(out, features)
        logits: Tensor = self.conv_img(F.leaky_relu(out, 0.2).to(features.dtype))
        return logits
