"""The lite network in torch: the engine on GPUs, and what others are made from and compared with."""

from __future__ import annotations

import copy
from pathlib import Path
from time import perf_counter
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from models.checkpoint import load, load_into
from models.inference import prepare
from models.lite.config import LiteConfig
from models.lite.enlarging import LargeSource, brightness, enlarged
from models.lite.layout import SIZE
from models.lite.network import LiteNetwork, Points, Source
from models.torch_engine import TorchEngine
from shared.constants import SIZES
from shared.errors import RequestError

Precision = Literal["float32", "bfloat16", "int8", "auto"]
_ROUNDS = 6
# A precision that loses exactness must win clearly.
_CLEARLY_FASTER = 0.93
# Where it takes so many times as long in both of two rounds, this CPU only imitates it: no other is needed.
_IMITATED = 3


def load_network(folder: Path) -> LiteNetwork:
    """Load the network of a checkpoint folder, evaluating; RequestError where it does not fit."""
    checkpoint = load(folder, expect="lite")
    config = LiteConfig.from_map(checkpoint.config.get("network"))
    # Without memory of its own: initialising it would be wasted, and the sizes come from a file.
    with torch.device("meta"):
        network = LiteNetwork(config)
    load_into(network, checkpoint)
    return network.eval().requires_grad_(False)


class LiteTorchEngine(TorchEngine[Source | LargeSource]):
    """Runs a lite network. `precision` is the generator's.

    "auto" takes the faster one on a CPU, timed here, and float32 on a GPU: a frame is hardly work for one, so
    that timing it would measure how long launching takes.
    """

    def __init__(self, network: LiteNetwork, device: str = "cpu", precision: Precision = "float32") -> None:
        if precision == "int8":
            raise RequestError("torch does not render in int8; choose OpenVINO, or another precision.")
        super().__init__(device, SIZE, sizes=SIZES)
        self.network = prepare(network, device)
        timed = precision == "auto" and self.processor == "cpu"
        if precision == "bfloat16" or (timed and self._is_faster_in_bfloat16()):
            self.network.generator.to(torch.bfloat16)
            self.precision = "bfloat16"

    @torch.inference_mode()
    def _is_faster_in_bfloat16(self) -> bool:
        """Render with both in turn and compare the fastest rounds, which other work on the machine spares."""
        half = copy.deepcopy(self.network)
        half.generator.to(torch.bfloat16)
        times: dict[LiteNetwork, list[float]] = {self.network: [], half: []}
        picture = self._tensor(np.full((1, SIZE, SIZE, 3), 128, np.uint8))
        sources = {network: network.encode(picture) for network in times}
        for _ in range(_ROUNDS):
            for network, taken in times.items():
                source = sources[network]
                start = perf_counter()
                network.render(source, Points.from_flat(source.points))
                taken.append(perf_counter() - start)
            if len(times[half]) > 1 and min(times[half]) > _IMITATED * min(times[self.network]):
                break
        return min(times[half]) < _CLEARLY_FASTER * min(times[self.network])

    def _detect(self, pictures: Tensor) -> Tensor:
        points: Points = self.network.detector(pictures)
        return points.flat()

    def _encode(self, picture: Tensor) -> tuple[Source | LargeSource, Tensor]:
        source = self.network.encode(picture)
        return source, source.points

    def _encode_large(self, picture: Tensor, small: Tensor) -> tuple[Source | LargeSource, Tensor]:
        source = self.network.encode(small)
        return LargeSource(source, brightness(picture), brightness(small)), source.points

    def _draw(self, source: Source | LargeSource, keypoints: Tensor) -> Tensor:
        points, count = Points.from_flat(keypoints), len(keypoints)
        if isinstance(source, LargeSource):
            return enlarged(self.network.rendered(source.source.expand(count), points), source)
        return self.network.render(source.expand(count), points)
