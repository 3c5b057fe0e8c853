"""The lite backbone behind the facade of `shared.interfaces.Backbone`."""

from __future__ import annotations

import copy
from pathlib import Path
from time import perf_counter
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from models.checkpoint import load, load_into
from models.facade import TorchBackbone
from models.inference import prepare
from models.lite.config import LiteConfig
from models.lite.network import LiteNetwork, Points, Source
from shared.config import SIZE

Precision = Literal["float32", "bfloat16", "auto"]
_ROUNDS = 6
# A precision that loses exactness must win clearly.
_CLEARLY_FASTER = 0.93


class LiteBackbone(TorchBackbone[Source]):
    """The lite network, ready to serve.

    `precision` is that of the generator's convolutions; keypoints and motion are float32 always. "auto" times
    both on this machine. A CPU with bfloat16 arithmetic took 20 ms a frame instead of 25, and no pixel of the
    four frames compared differed by more than one level.
    """

    name = "lite"

    def __init__(
        self,
        network: LiteNetwork,
        fingerprint: str = "",
        device: str = "cpu",
        precision: Precision = "float32",
    ) -> None:
        super().__init__(fingerprint, device)
        self.network = prepare(network, device)
        if precision == "bfloat16" or (precision == "auto" and self._is_faster_in_bfloat16()):
            self.network.generator.to(torch.bfloat16)

    @property
    def precision(self) -> str:
        """The precision in use: "float32" or "bfloat16"."""
        return str(self.network.generator.precision).removeprefix("torch.")

    @classmethod
    def load(cls, folder: Path, device: str = "cpu", precision: Precision = "auto") -> LiteBackbone:
        """Load a checkpoint folder; RequestError, in one sentence, where it does not fit."""
        checkpoint = load(folder, expect="lite")
        config = LiteConfig.from_map(checkpoint.config.get("network"))
        # Without memory of its own: initialising it would be wasted, and the sizes come from a file.
        with torch.device("meta"):
            network = LiteNetwork(config)
        load_into(network, checkpoint)
        return cls(network, checkpoint.fingerprint, device, precision)

    @torch.inference_mode()
    def _is_faster_in_bfloat16(self) -> bool:
        """Render with both in turn and compare the fastest rounds, which other work on the machine spares."""
        half = copy.deepcopy(self.network)
        half.generator.to(torch.bfloat16)
        times: dict[LiteNetwork, list[float]] = {self.network: [], half: []}
        picture = self._tensor(np.full((1, SIZE, SIZE, 3), 128, np.uint8))
        for _ in range(_ROUNDS):
            for network, taken in times.items():
                source = network.encode(picture)
                start = perf_counter()
                network.render(source, source.points)
                if self.device.type == "cuda":
                    torch.cuda.synchronize(self.device)
                taken.append(perf_counter() - start)
        return min(times[half]) < _CLEARLY_FASTER * min(times[self.network])

    def _detect(self, pictures: Tensor) -> Tensor:
        points: Points = self.network.detector(pictures)
        return points.flat()

    def _encode(self, picture: Tensor) -> tuple[Source, Tensor]:
        source = self.network.encode(picture)
        return source, source.points.flat()

    def _draw(self, source: Source, keypoints: Tensor) -> Tensor:
        return self.network.render(source.expand(len(keypoints)), Points.from_flat(keypoints))
