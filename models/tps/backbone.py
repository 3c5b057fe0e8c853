"""The Thin-Plate-Spline model as a `Backbone`: one source picture encoded once, in the fastest precision."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from models.facade import EngineBackbone
from models.fomm.precision import engine_in
from models.fomm.serving import Precision
from models.torch_engine import TorchEngine
from models.tps.dense_motion import Motion
from models.tps.model import SourceState, Tps, load_tps
from models.tps.serving import serve
from models.weight_prepacking import pack
from shared.hulls import area
from shared.interfaces import Source, Transfer
from shared.keypoints import Floats, KeypointLayout
from shared.transfer import scale_between


class TpsEngine(TorchEngine[SourceState]):
    """The network as it serves, on one device, in one precision of painting."""

    def __init__(self, model: Tps, device: torch.device | str, precision: Precision) -> None:
        super().__init__(device, model.config.image_size, precision)
        self.model = serve(model, device, precision)
        pack(self.model)

    def _detect(self, pictures: Tensor) -> Tensor:
        points: Tensor = self.model.kp_detector(pictures)
        return points.flatten(1)

    def _encode(self, picture: Tensor) -> tuple[SourceState, Tensor]:
        points: Tensor = self.model.kp_detector(picture)
        return self.model.encode_source(picture, points), points.flatten(1)

    def _draw(self, source: SourceState, keypoints: Tensor) -> Tensor:
        # The motion network is mostly weights and gains from a batch. Painting is mostly activations, which
        # fit into a CPU's cache for one frame and not for many.
        driving = keypoints.reshape(len(keypoints), -1, 2)
        motion: Motion = self.model.dense_motion_network(source.motion, driving)
        step = 1 if self.device.type == "cpu" else len(keypoints)
        paint = self.model.inpainting_network.decode
        return torch.cat([
            paint(source.picture, source.levels, part).prediction for part in motion.split(step)
        ])  # fmt: skip


class TpsBackbone(EngineBackbone):
    """The published network, ready to serve on one device: 100 numbers a frame.

    `precision` is that of painting; points and motion are float32 always. "auto" takes what is
    fastest on this machine (see `engine_in`).
    """

    name = "tps"

    def __init__(
        self,
        model: Tps,
        device: torch.device | str = "cpu",
        precision: Precision | Literal["auto"] = "float32",
    ) -> None:
        def engine(chosen: Precision) -> TpsEngine:
            return TpsEngine(model, device, chosen)

        super().__init__(engine_in(precision, device, engine), layout_of(model), model.fingerprint())

    def transfer(
        self,
        source: Source,
        initial: Floats,
        *,
        adapt_scale: bool = False,  # noqa: ARG002 - it always is
    ) -> Transfer:
        """Return what carries motion since the driving keypoints `initial` (D,) over to `source`.

        Points: s + (d - d0) sqrt(area of the source's hull / area of the initial one), always scaled, as the
        published demo's relative mode is. Initial points without an area are followed as they are.
        """
        ours, theirs = (area(self.layout.positions(frame)) for frame in (source.keypoints, initial))
        scale = scale_between(ours, theirs) if theirs > 0 else 1.0
        return partial(self.layout.transfer, source.keypoints, initial=initial, scale=scale)

    @classmethod
    def load(
        cls,
        path: Path | str,
        device: torch.device | str = "cpu",
        precision: Precision | Literal["auto"] = "auto",
    ) -> TpsBackbone:
        """Load a checkpoint file or folder (see `load_tps`); RequestError if there is none to use."""
        return cls(load_tps(path), device, precision)


def layout_of(model: Tps) -> KeypointLayout:
    """Return what the network's keypoints are: points, and nothing else."""
    return KeypointLayout.of_points(model.config.num_kp)
