"""SqueezeNet's convolutions, filled at random: a perceptual network that needs no file from elsewhere."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

# (squeeze, expand) channels of SqueezeNet v1.1's fire modules by layer, and their inputs.
FIRES = {3: (64, 16, 64), 4: (128, 16, 64), 6: (128, 32, 128), 7: (256, 32, 128), 9: (256, 48, 192),
         10: (384, 48, 192), 11: (384, 64, 256), 12: (512, 64, 256)}  # fmt: skip


def squeezenet(path: Path) -> Path:
    """Write the weights to `path` and return it."""
    generator = torch.Generator().manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {"features.0": (64, 3, 3, 3)}
    for layer, (inputs, squeeze, expand) in FIRES.items():
        shapes[f"features.{layer}.squeeze"] = (squeeze, inputs, 1, 1)
        shapes[f"features.{layer}.expand1x1"] = (expand, squeeze, 1, 1)
        shapes[f"features.{layer}.expand3x3"] = (expand, squeeze, 3, 3)
    weights: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        weights[f"{name}.weight"] = torch.randn(shape, generator=generator) * (2 / shape[1]) ** 0.5
        weights[f"{name}.bias"] = torch.zeros(shape[0])
    save_file(weights, path)
    return path
