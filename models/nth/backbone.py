"""The neural talking head as a `Backbone`: one source picture encoded once, in the fastest precision."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.engine import Encoded
from models.facade import EngineBackbone
from models.fomm.precision import engine_in
from models.fomm.serving import Precision
from models.nth.generator import SourceState
from models.nth.layout import layout_of
from models.nth.model import Nth, load_nth
from models.nth.pose import Pose
from models.nth.serving import serve
from models.torch_engine import TorchEngine
from models.weight_prepacking import pack
from shared.errors import RequestError
from shared.hulls import volume
from shared.interfaces import Source, Transfer
from shared.keypoints import Floats
from shared.transfer import scale_between


class NthSource(NamedTuple):
    """The retained part of a source picture: its `canonical` keypoints (1, K, 3), and what is drawn from."""

    canonical: Tensor
    state: SourceState


class NthEngine(TorchEngine[NthSource]):
    """The network as it serves, on one device, in one precision of motion and drawing."""

    # A frame's volumes take some hundred megabytes.
    cpu_batch, gpu_batch = 4, 8

    def __init__(self, model: Nth, device: torch.device | str, precision: Precision) -> None:
        super().__init__(device, model.config.image_size, precision)
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
    this machine (see `engine_in`).
    """

    name = "nth"

    def __init__(
        self,
        model: Nth,
        device: torch.device | str = "cpu",
        precision: Precision | Literal["auto"] = "float32",
    ) -> None:
        def engine(chosen: Precision) -> NthEngine:
            if model.config.spade and chosen in ("mixed", "bfloat16"):
                # Its norms magnify what bfloat16 rounds: single pixels were off by more than 0.02.
                chosen = "float32"
            return NthEngine(model, device, chosen)

        layout = layout_of(model.config.num_kp)
        super().__init__(engine_in(precision, device, engine), layout, model.fingerprint())

    def transfer(self, source: Source, initial: Floats, *, adapt_scale: bool = False) -> Transfer:
        """Return what carries motion since the driving keypoints `initial` (D,) over to `source`.

        On the keypoints in space, as the published code does: s + (d - d0), with `adapt_scale` times
        sqrt(volume of the source's hull / volume of the initial one). What moves is then given as expression,
        the head being held as in the source. Raises RequestError where the initial hull has no volume.
        """
        canonical, pose = canonical_of(source), _pose(source.keypoints[None])
        own, first = pose.place(canonical), _pose(initial[None]).place(canonical)
        scale = scale_between(volume(own[0].numpy()), volume(first[0].numpy())) if adapt_scale else 1.0

        def move(driving: Floats) -> Floats:
            shift = (_pose(driving).place(canonical) - first) * scale
            held = [part.expand(len(shift), -1) for part in (pose.translation, pose.angles)]
            flat: Floats = Pose(pose.expression + shift, *held).flat().numpy()
            return flat

        return move

    @classmethod
    def load(
        cls,
        path: Path | str,
        device: torch.device | str = "cpu",
        precision: Precision | Literal["auto"] = "auto",
    ) -> NthBackbone:
        """Load a checkpoint file or folder (see `load_nth`); RequestError if there is none to use."""
        return cls(load_nth(path), device, precision)


def canonical_of(source: Source) -> Tensor:
    """Return the canonical keypoints (1, K, 3) of a source picture; RequestError for another network's."""
    if not isinstance(source, Encoded) or not isinstance(source.kept, NthSource):
        raise RequestError("The source picture was encoded by another network; encode it with this one.")
    return source.kept.canonical.cpu()


def _pose(rows: Floats) -> Pose:
    return Pose.from_flat(torch.from_numpy(np.array(rows, np.float32)))
