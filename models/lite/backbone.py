"""The lite backbone: its weights, and the engine that suits this machine; torch is loaded where it serves."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from models import stored
from models.engine import Engine
from models.facade import EngineBackbone
from models.lite.layout import LAYOUT, SIZE
from models.openvino.engine import Graphs, OpenVinoEngine
from models.openvino.files import GraphFiles, NoGraphsError
from models.openvino.runtime import EngineError, openvino
from shared.constants import SIZES
from shared.errors import RequestError
from shared.runtime.logs import logger

if TYPE_CHECKING:
    from models.lite.network import LiteNetwork

Precision = Literal["float32", "bfloat16", "int8", "auto"]
EngineName = Literal["torch", "openvino", "auto"]
_log = logger("network")


class LiteBackbone(EngineBackbone):
    """The lite network, ready to serve.

    "auto" is OpenVINO on a CPU, and torch on a GPU and where OpenVINO does not work. Between engines of one
    precision no keypoint differs by more than 1e-4 and no pixel by more than one level.

    `precision` is that of the generator's convolutions; keypoints and motion are float32 always. "auto" is
    int8 in OpenVINO where the weights have such a graph and the CPU computes in it; else bfloat16 where the
    CPU computes in that, which torch times, and float32 on a GPU. A CPU with bfloat16 arithmetic took 20 ms a
    frame instead of 25 in torch, and no pixel of the four frames compared differed by more than one level.
    """

    name = "lite"

    def __init__(
        self,
        engine: Engine,
        fingerprint: str = "",
        detector: str | None = None,
        otherwise: Callable[[], Engine] | None = None,
    ) -> None:
        super().__init__(engine, LAYOUT, fingerprint, detector)
        self._otherwise = otherwise

    @classmethod
    def of(
        cls,
        network: LiteNetwork,
        fingerprint: str = "",
        device: str = "cpu",
        precision: Precision = "float32",
        engine: EngineName = "torch",
    ) -> LiteBackbone:
        """Serve a network that is in torch already."""

        def in_torch() -> Engine:
            from models.lite.torch_engine import LiteTorchEngine

            return LiteTorchEngine(network, device, precision)

        def graphs() -> Graphs:
            from models.lite.stages import lite_network
            from models.openvino.convert import TorchGraphs

            # A copy, since graphs are made later, when the network may have been trained on.
            return TorchGraphs(lite_network(copy.deepcopy(network).eval(), fingerprint))

        chosen, otherwise = _choose(engine, device, precision, graphs, in_torch)
        return cls(chosen, fingerprint, otherwise=otherwise)

    @classmethod
    def load(
        cls, folder: Path, device: str = "cpu", precision: Precision = "auto", engine: EngineName = "auto"
    ) -> LiteBackbone:
        """Load a checkpoint folder; RequestError, in one sentence, where it does not fit."""
        checkpoint = stored.read(folder, expect="lite")
        fingerprint = checkpoint.fingerprint

        def in_torch() -> Engine:
            from models.lite.torch_engine import LiteTorchEngine, load_network

            return LiteTorchEngine(load_network(folder), device, precision)

        def graphs() -> Graphs:
            return _graphs(folder, fingerprint)

        chosen, otherwise = _choose(engine, device, precision, graphs, in_torch)
        detector = checkpoint.config.get("detector")
        return cls(chosen, fingerprint, detector if isinstance(detector, str) else None, otherwise)

    def warmup(self, *, detect: bool = True, render: bool = True) -> None:
        """Run what will be used once; torch takes over where OpenVINO turns out not to take the network."""
        try:
            super().warmup(detect=detect, render=render)
        except EngineError as error:
            if self._otherwise is None:
                raise
            _tell(error)
            self._engine, self._otherwise = self._otherwise(), None
            super().warmup(detect=detect, render=render)


def _choose(
    engine: EngineName,
    device: str,
    precision: Precision,
    graphs: Callable[[], Graphs],
    in_torch: Callable[[], Engine],
) -> tuple[Engine, Callable[[], Engine] | None]:
    """Return the engine that was asked for or is the better one, and what to use where it fails, if any."""
    if engine == "openvino" and device != "cpu":
        raise RequestError("OpenVINO runs the network on CPUs only; choose --device cpu or torch.")
    if engine == "torch" or device != "cpu":
        return in_torch(), None
    try:
        openvino()  # asked for first: without it the graphs are for nothing
        return OpenVinoEngine(graphs(), SIZE, precision, SIZES), in_torch if engine == "auto" else None
    except EngineError as error:
        if engine == "openvino" or precision == "int8":
            raise
        _tell(error)
        return in_torch(), None


def _tell(error: EngineError) -> None:
    _log.warning("%s Going on with torch, which is slower on a CPU.", error)


def _graphs(folder: Path, fingerprint: str) -> Graphs:
    """Return the graphs in `folder`; where there are none of these weights, from the network in torch."""
    try:
        return GraphFiles(folder, fingerprint)
    except EngineError as error:
        level = logging.DEBUG if isinstance(error, NoGraphsError) else logging.WARNING
        _log.log(level, "%s Making them with torch; `python -m models.openvino` keeps them.", error)
    from models.lite.stages import lite_network
    from models.lite.torch_engine import load_network
    from models.openvino.convert import TorchGraphs

    return TorchGraphs(lite_network(load_network(folder), fingerprint))
