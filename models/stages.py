"""A network as plain functions of tensors, stage by stage: what leaves torch is made from that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Network:
    """Stages of a backbone, as functions of tensors.

    `source` names what `encode` returns, the picture's keypoints "points" (1, D) among it. `rendered`, of a
    network that draws larger pictures too, returns what `render` does and, named by `parts`, what those take.
    """

    model: str
    fingerprint: str
    size: int
    source: tuple[str, ...]
    detect: nn.Module
    encode: nn.Module
    render: nn.Module
    rendered: nn.Module | None = field(default=None, kw_only=True)
    parts: tuple[str, ...] = field(default=(), kw_only=True)


class Function(nn.Module):
    """A function of tensors that keeps the weights of `network` in view of the exporter."""

    def __init__(self, network: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.network = network
        self.function = function

    def forward(self, *tensors: Tensor) -> Any:  # noqa: ANN401
        """Return what the function does of the network and `tensors`."""
        return self.function(self.network, *tensors)
