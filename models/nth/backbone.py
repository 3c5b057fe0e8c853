"""The neural talking head as a `Backbone`: one source picture encoded once, in the fastest precision."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from models.facade import EngineBackbone
from models.fomm.serving import Precision, fastest_precision
from models.nth.generator import SourceState
from models.nth.layout import layout_of
from models.nth.model import Nth, load_nth
from models.nth.pose import Pose
from models.nth.serving import serve
from models.packing import pack
from models.torch_engine import TorchEngine


class NthSource(NamedTuple):
    """What is kept of a source picture: its `canonical` keypoints (1, K, 3), and what is drawn from."""

    canonical: Tensor
    state: SourceState


class NthEngine(TorchEngine[NthSource]):
    """The network as it serves, on one device, in one precision of motion and drawing."""

    # A frame's volumes take some hundred megabytes.
    max_batch = 4

    def __init__(self, model: Nth, device: torch.device | str, precision: Precision) -> None:
        super().__init__(device, precision, model.config.image_size)
        self.model = serve(model, device, precision)
        pack(self.model)

    def _detect(self, pictures: Tensor) -> Tensor:
        pose: Pose = self.model.he_estimator(pictures)
        return pose.flat()

    def _encode(self, picture: Tensor) -> tuple[NthSource, Tensor]:
        canonical, pose = self.model.find(picture)
        state = self.model.generator.encode_source(picture, pose.place(canonical))
        return NthSource(canonical, state), pose.flat()

    def _draw(self, source: NthSource, keypoints: Tensor) -> Tensor:
        driving = Pose.from_flat(keypoints).place(source.canonical)
        # What lies between the layers of one frame is more than a CPU's cache holds.
        step = 1 if self.device.type == "cpu" else len(driving)
        draw = self.model.generator.decode
        return torch.cat([draw(source.state, part).prediction for part in torch.split(driving, step)])


class NthBackbone(EngineBackbone):
    """The published network, ready to serve on one device: 51 numbers a frame.

    `precision` is that of motion and drawing; keypoints are float32 always. "auto" takes what is fastest on
    this machine (see `fastest_precision`).
    """

    name = "nth"

    def __init__(
        self,
        model: Nth,
        device: torch.device | str = "cpu",
        precision: Precision | Literal["auto"] = "float32",
    ) -> None:
        chosen = fastest_precision(device) if precision == "auto" else precision
        layout = layout_of(model.config.num_kp)
        super().__init__(NthEngine(model, device, chosen), layout, model.fingerprint())

    @classmethod
    def load(
        cls,
        path: Path | str,
        device: torch.device | str = "cpu",
        precision: Precision | Literal["auto"] = "auto",
    ) -> NthBackbone:
        """Load a checkpoint file or folder (see `load_nth`); RequestError if there is none to use."""
        return cls(load_nth(path), device, precision)
