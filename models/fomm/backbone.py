"""The First Order Motion Model as a `Backbone`: one source picture encoded once, in the fastest precision."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from models.facade import EngineBackbone
from models.fomm.generator import SourceState
from models.fomm.keypoint_detector import Points
from models.fomm.model import Fomm, load_fomm
from models.fomm.precision import engine_in
from models.fomm.serving import Precision, ServedFomm
from models.torch_engine import TorchEngine
from models.weight_prepacking import pack
from shared.keypoints import KeypointLayout


class FommEngine(TorchEngine[SourceState]):
    """The network as it serves (`ServedFomm`), on one device, in one precision of the renderer."""

    def __init__(self, model: Fomm, device: torch.device | str, precision: Precision) -> None:
        super().__init__(device, model.config.image_size, precision)
        self.model = ServedFomm(model, device, precision)
        pack(self.model)

    def _points(self, pictures: Tensor) -> Points:
        points: Points = self.model.kp_detector(pictures)
        return points

    def _detect(self, pictures: Tensor) -> Tensor:
        return self._points(pictures).flat()

    def _encode(self, picture: Tensor) -> tuple[SourceState, Tensor]:
        points = self._points(picture)
        return self.model.generator.encode_source(picture, points), points.flat()

    def _draw(self, source: SourceState, keypoints: Tensor) -> Tensor:
        return self.model.generator.decode(source, Points.from_flat(keypoints)).prediction


class FommBackbone(EngineBackbone):
    """The published network, ready to serve on one device.

    `precision` is that of the renderer's convolutions; keypoints and motion are float32 always. "auto" takes
    what is fastest on this machine (see `engine_in`).
    """

    name = "fomm"

    def __init__(
        self,
        model: Fomm,
        device: torch.device | str = "cpu",
        precision: Precision | Literal["auto"] = "float32",
    ) -> None:
        def engine(chosen: Precision) -> FommEngine:
            return FommEngine(model, device, chosen)

        super().__init__(engine_in(precision, device, engine), layout_of(model), model.fingerprint())

    @classmethod
    def load(
        cls,
        path: Path | str,
        device: torch.device | str = "cpu",
        precision: Precision | Literal["auto"] = "auto",
    ) -> FommBackbone:
        """Load a checkpoint file or folder (see `load_fomm`); RequestError if there is none to use."""
        return cls(load_fomm(path), device, precision)


def layout_of(model: Fomm) -> KeypointLayout:
    """Return what the network's keypoints are: points and their Jacobians."""
    return KeypointLayout.of_points(model.config.num_kp, jacobians=True)
