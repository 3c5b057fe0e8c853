"""Preparation common to all networks: fold batch norms, turn pictures into tensors and back."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from shared.keypoints import Pictures

Network = TypeVar("Network", bound=nn.Module)


def fold_batchnorm(module: Network) -> Network:
    """Return an evaluation-mode copy of `module` without the batch norms that follow a convolution directly.

    Two places are looked at: neighbours in an `nn.Sequential`, and the pairs of attribute names that a module
    class lists in `conv_then_norm = (("conv", "norm"), ...)`. Norms that stand before a convolution, or after
    anything else, stay. w' = w g / sqrt(var + eps), b' = (b - mean) g / sqrt(var + eps) + beta (Ioffe &
    Szegedy 2015, inference); a folded norm becomes `nn.Identity`, so the names of the remaining modules do
    not move.
    """
    folded = copy.deepcopy(module).eval()
    for parent in list(folded.modules()):
        for conv_name, norm_name in _pairs(parent):
            conv, norm = getattr(parent, conv_name), getattr(parent, norm_name)
            if isinstance(conv, nn.Conv2d | nn.Conv3d) and isinstance(norm, nn.BatchNorm2d | nn.BatchNorm3d):
                setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, norm_name, nn.Identity())
    return folded


def prepare(
    module: Network, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Network:
    """Return a copy of `module` ready to serve: folded, evaluating, channels-last, without gradients."""
    ready = fold_batchnorm(module).requires_grad_(False).to(device=device, dtype=dtype)
    for parameter in ready.parameters():
        layout = {4: torch.channels_last, 5: torch.channels_last_3d}.get(parameter.dim())
        if layout is not None:
            parameter.data = parameter.data.contiguous(memory_format=layout)
    return ready


def compute_exactly() -> None:
    """Have a GPU compute float32 in float32: by default torch convolves in TF32, which keeps ten bits.

    A detector's temperature makes ten of every rounding error: keypoints would be up to 1e-3 off a CPU's.
    What may be rounded is in half precision anyway. The older of torch's two ways to say it, for every
    version knows that one, and a program that mixes them may not ask afterwards.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def to_tensor(pictures: Pictures, device: torch.device | str, dtype: torch.dtype) -> Tensor:
    """Turn RGB pictures (B, H, W, 3) uint8 into a tensor (B, 3, H, W) in [0, 1], channels-last in memory."""
    if torch.device(device).type == "cpu":
        # By NumPy, because torch would wake its threads for every one of these small passes.
        scaled = np.divide(np.ascontiguousarray(pictures), 255, dtype=np.float32)
        return torch.from_numpy(scaled).permute(0, 3, 1, 2).to(dtype)
    # A copy, because torch takes neither read-only arrays nor mirrored views.
    tensor = torch.from_numpy(np.array(pictures, order="C")).to(device)
    return tensor.permute(0, 3, 1, 2).to(dtype).div_(255)


def to_bytes(tensor: Tensor) -> Tensor:
    """Turn a tensor (B, 3, H, W) in [0, 1] into one (B, H, W, 3) of uint8; the rest is clipped."""
    rows = tensor.permute(0, 2, 3, 1).float()
    if tensor.device.type != "cpu":
        return rows.mul(255).round_().clamp_(0, 255).to(torch.uint8).contiguous()
    pictures: Pictures = np.empty(tuple(rows.shape), np.uint8)
    write_bytes(tensor, pictures)
    return torch.from_numpy(pictures)


def write_bytes(tensor: Tensor, pictures: Pictures) -> None:
    """Write a tensor (B, 3, H, W) in [0, 1] into `pictures` (B, H, W, 3) of uint8; the rest is clipped."""
    if tensor.device.type != "cpu":
        torch.from_numpy(pictures).copy_(to_bytes(tensor))
        return
    levels = np.multiply(tensor.permute(0, 2, 3, 1).float().detach().numpy(), np.float32(255))
    # fmin and fmax, unlike clip, leave no NaN.
    np.fmax(np.fmin(np.rint(levels, out=levels), 255, out=levels), 0, out=levels)
    np.copyto(pictures, levels, casting="unsafe")


def _pairs(parent: nn.Module) -> Iterator[tuple[str, str]]:
    if isinstance(parent, nn.Sequential):
        yield from pairwise(name for name, _ in parent.named_children())
    yield from getattr(parent, "conv_then_norm", ())
