"""Convolution weights kept in the order in which the CPU's library reads them.

torch hands oneDNN plain weights, which it puts in order anew for every picture: for layers with many weights
and few pixels that takes longer than the convolution. torch's own compiler packs them once, through the
operators used here; no promise stands behind those, so what they compute is checked before they are used.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn


class PackedConvolution(nn.Module):
    """`conv`, and a ReLU after it if so asked, with its weights in order.

    They are for pictures of the size and batch that it is first called with; others are right as well, if
    slower. It cannot be trained, copied or saved.
    """

    def __init__(self, conv: nn.Conv2d, relu: bool = False) -> None:
        super().__init__()
        self._then = "relu" if relu else "none"
        self.bias = conv.bias
        # Not a parameter: a packed tensor has no plain memory to move or to show.
        self._weight = conv.weight.detach()
        self._geometry = [list(part) for part in (conv.padding, conv.stride, conv.dilation)]
        self._groups = conv.groups
        self._packed = False

    def forward(self, x: Tensor) -> Tensor:
        """Convolve: (B, in, H, W) -> (B, out, H', W')."""
        if not self._packed:
            self._weight = _operators()._reorder_convolution_weight(
                self._weight, *self._geometry, self._groups, list(x.shape)
            )
            self._packed = True
        out: Tensor = _operators()._convolution_pointwise(
            x, self._weight, self.bias, *self._geometry, self._groups, self._then, [], ""
        )
        return out


def pack(network: nn.Module) -> None:
    """Replace all convolutions inside `network`, which serves on a CPU, by packed ones; else leave it.

    A ReLU right after one in an `nn.Sequential` becomes part of it.
    """
    if not can_pack():
        return
    for parent in list(network.modules()):
        children = list(parent.named_children())
        for (name, child), (after, following) in pairwise([*children, ("", None)]):
            if not isinstance(child, nn.Conv2d) or not _is_plain(child):
                continue
            relu = isinstance(parent, nn.Sequential) and isinstance(following, nn.ReLU)
            setattr(parent, name, PackedConvolution(child, relu))
            if relu:
                setattr(parent, after, nn.Identity())


@cache
def can_pack() -> bool:
    """Return whether this torch, on this CPU, convolves with packed weights, and rightly."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    with torch.inference_mode():
        x, conv = torch.linspace(-1, 1, 1024).view(1, 4, 16, 16), nn.Conv2d(4, 8, 3, padding=1)
        try:
            return torch.allclose(PackedConvolution(conv)(x), conv(x), atol=1e-4)
        except (AttributeError, RuntimeError, TypeError):
            return False


def _is_plain(conv: nn.Conv2d) -> bool:
    simple = conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
    return simple and conv.weight.device.type == "cpu" and _packs(conv.weight.dtype)


@cache
def _packs(dtype: torch.dtype) -> bool:
    """Return whether weights of this type can be put in order: of bfloat16 not where it is only imitated."""
    return dtype != torch.bfloat16 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _operators() -> Any:  # noqa: ANN401
    return torch.ops.mkldnn
