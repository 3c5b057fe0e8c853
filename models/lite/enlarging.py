"""Larger pictures in torch: what the network draws, and the detail of a larger source picture, warped along.

frame = drawn, enlarged + alpha (source's brightness, warped - the same of its smaller version, enlarged)

Where the frame is the warped source picture, the smaller version's share is thus replaced by the larger
one's; what the network draws itself and what it corrects stay soft, and between both is a soft edge, for
alpha has no hard ones. Brightness alone: coded pictures have their colours at half their size anyway.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from models.larger import BRIGHTNESS
from models.lite.geometry import grown_flow, warp
from models.lite.structures import Rendered, Source


class LargeSource(NamedTuple):
    """A larger source picture: what the network knows of it, and its brightness, large and small.

    bright is (1, 1, S, S), small (1, 1, 256, 256).
    """

    source: Source
    bright: Tensor
    small: Tensor


def brightness(picture: Tensor) -> Tensor:
    """Return the brightness (B, 1, H, W) of pictures (B, 3, H, W)."""
    weights = torch.tensor(BRIGHTNESS, device=picture.device).reshape(1, 3, 1, 1)
    return (picture * weights).sum(1, keepdim=True)


def enlarged(rendered: Rendered, source: LargeSource) -> Tensor:
    """Return frames (B, 3, S, S), near [0, 1], of what was rendered from the smaller picture of `source`."""
    size, count = source.bright.shape[-1], len(rendered.flow)
    sharp = F.grid_sample(
        source.bright.expand(count, -1, -1, -1), grown_flow(rendered.flow, size),
        mode="bicubic", padding_mode="border", align_corners=False,
    )  # fmt: skip
    soft = warp(source.small.expand(count, -1, -1, -1), grown_flow(rendered.flow, source.small.shape[-1]))
    alpha = F.interpolate(rendered.alpha, (size, size), mode="bilinear")
    return _grown(rendered.frame.clamp(0, 1), size) + alpha * (sharp - _grown(soft, size))


def _grown(picture: Tensor, size: int) -> Tensor:
    return F.interpolate(picture, (size, size), mode="bicubic")
