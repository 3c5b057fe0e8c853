"""The lite backbone behind the facade of `shared.interfaces.Backbone`."""

from __future__ import annotations

import copy
import logging
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
from models.lite.openvino_engine import OpenVinoEngine
from shared.config import SIZE
from shared.errors import KeycastError, RequestError

Precision = Literal["float32", "bfloat16", "auto"]
Engine = Literal["torch", "openvino", "auto"]
_log = logging.getLogger(__name__)
_ROUNDS = 6
# A precision that loses exactness must win clearly.
_CLEARLY_FASTER = 0.93


class LiteBackbone(TorchBackbone[Source]):
    """The lite network, ready to serve.

    `engine` runs detection and rendering; the source is encoded by torch always. "auto" is OpenVINO on a CPU,
    and torch on a GPU and where OpenVINO does not work. Between engines of one precision no keypoint differs
    by more than 1e-4 and no pixel by more than one level. Threads are those torch has while this is built.

    `precision` is that of the generator's convolutions; keypoints and motion are float32 always. "auto" is
    bfloat16 where the CPU computes in it; torch times both. A CPU with bfloat16 arithmetic took 20 ms a frame
    instead of 25 in torch, and no pixel of the four frames compared differed by more than one level.
    """

    name = "lite"

    def __init__(
        self,
        network: LiteNetwork,
        fingerprint: str = "",
        device: str = "cpu",
        precision: Precision = "float32",
        engine: Engine = "torch",
    ) -> None:
        super().__init__(fingerprint, device)
        self.network = prepare(network, device)
        self._compiled = self._choose_engine(precision, engine)
        if self._compiled is None and (
            precision == "bfloat16" or (precision == "auto" and self._is_faster_in_bfloat16())
        ):
            self.network.generator.to(torch.bfloat16)

    @property
    def engine(self) -> str:
        """What runs the network: "torch" or "openvino"."""
        return "torch" if self._compiled is None else "openvino"

    @property
    def precision(self) -> str:
        """The precision in use: "float32" or "bfloat16"."""
        if self._compiled is not None:
            return self._compiled.precision
        return str(self.network.generator.precision).removeprefix("torch.")

    @classmethod
    def load(
        cls, folder: Path, device: str = "cpu", precision: Precision = "auto", engine: Engine = "auto"
    ) -> LiteBackbone:
        """Load a checkpoint folder; RequestError, in one sentence, where it does not fit."""
        checkpoint = load(folder, expect="lite")
        config = LiteConfig.from_map(checkpoint.config.get("network"))
        # Without memory of its own: initialising it would be wasted, and the sizes come from a file.
        with torch.device("meta"):
            network = LiteNetwork(config)
        load_into(network, checkpoint)
        return cls(network, checkpoint.fingerprint, device, precision, engine)

    def _choose_engine(self, precision: Precision, engine: Engine) -> OpenVinoEngine | None:
        """Return OpenVINO where it was asked for or is the better choice, None for torch."""
        if engine == "openvino" and self.device.type != "cpu":
            raise RequestError("OpenVINO runs the network on CPUs only; choose --device cpu or torch.")
        if engine == "torch" or self.device.type != "cpu":
            return None
        try:
            return OpenVinoEngine(self.network, precision)
        except KeycastError as error:
            if engine == "openvino":
                raise
            _log.warning("%s Going on with torch, which is slower on a CPU.", error)
            return None

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
                self._wait()
                start = perf_counter()
                network.render(source, source.points)
                self._wait()
                taken.append(perf_counter() - start)
        return min(times[half]) < _CLEARLY_FASTER * min(times[self.network])

    def _wait(self) -> None:
        """Wait for what was given to a GPU."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _detect(self, pictures: Tensor) -> Tensor:
        if self._compiled is not None:
            return self._compiled.detect(pictures)
        points: Points = self.network.detector(pictures)
        return points.flat()

    def _encode(self, picture: Tensor) -> tuple[Source, Tensor]:
        source = self.network.encode(picture)
        if self._compiled is not None:
            source = source.dense()
        return source, source.points.flat()

    def _draw(self, source: Source, keypoints: Tensor) -> Tensor:
        if self._compiled is not None:
            return self._compiled.draw(source, keypoints)
        return self.network.render(source.expand(len(keypoints)), Points.from_flat(keypoints))
