"""The lite backbone behind the facade of `shared.interfaces.Backbone`."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from models.checkpoint import load, load_into
from models.facade import TorchBackbone
from models.inference import prepare
from models.lite.config import LiteConfig
from models.lite.network import LiteNetwork, Points, Source


class LiteBackbone(TorchBackbone[Source]):
    """The lite network, ready to serve."""

    name = "lite"

    def __init__(self, network: LiteNetwork, fingerprint: str = "", device: str = "cpu") -> None:
        super().__init__(fingerprint, device)
        self.network = prepare(network, device)

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> LiteBackbone:
        """Load a checkpoint folder; RequestError, in one sentence, where it does not fit."""
        checkpoint = load(folder, expect="lite")
        config = LiteConfig.from_map(checkpoint.config.get("network"))
        # Without memory of its own: initialising it would be wasted, and the sizes come from a file.
        with torch.device("meta"):
            network = LiteNetwork(config)
        load_into(network, checkpoint)
        return cls(network, checkpoint.fingerprint, device)

    def _detect(self, pictures: Tensor) -> Tensor:
        points: Points = self.network.detector(pictures)
        return points.flat()

    def _encode(self, picture: Tensor) -> tuple[Source, Tensor]:
        source = self.network.encode(picture)
        return source, source.points.flat()

    def _draw(self, source: Source, keypoints: Tensor) -> Tensor:
        return self.network.render(source.expand(len(keypoints)), Points.from_flat(keypoints))
