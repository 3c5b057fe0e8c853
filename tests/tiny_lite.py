"""Lite networks small enough for tests."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from models import checkpoint
from models.lite.config import LiteConfig
from models.lite.network import LiteNetwork

TINY = LiteConfig(
    detector=(8, 8, 8, 8), patches=(8, 8, 8), motion=(8, 8, 8), generator=(8, 8, 8), fine=8, detail=4
)


def untrained(seed: int = 0, config: LiteConfig = TINY) -> LiteNetwork:
    """Return a network as a training run starts with it, evaluating."""
    torch.manual_seed(seed)
    return LiteNetwork(config).eval()


def unsettled(seed: int = 0, config: LiteConfig = TINY) -> LiteNetwork:
    """Return a network, evaluating, of which every weight and statistic matters and none is like another.

    A fresh one starts with zeros, which hide what comes before them, and with equal sub-pixels.
    """
    network = untrained(seed, config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                assert isinstance(tensor, Tensor)
                tensor.uniform_(0.5, 1.5)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.data.add_(0.02 * torch.randn_like(module.weight))
    return network


def save_lite(folder: Path, network: LiteNetwork) -> Path:
    """Write a network as a checkpoint folder; return the folder."""
    config = {"model": "lite", "network": network.config.to_map()}
    checkpoint.save(folder, network.state_dict(), config)
    return folder
