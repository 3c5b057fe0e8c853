"""The whole model: detector, motion and inpainting under one roof, from public checkpoints or our own."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from models import checkpoint
from models.public import from_folder, from_parts, read_parts
from models.tps.config import VOX_256, TpsConfig
from models.tps.dense_motion import DenseMotionNetwork, Motion, MotionSource
from models.tps.inpainting import InpaintingNetwork, Rendered
from models.tps.keypoint_detector import KPDetector

KIND = "tps"
# Of a published file the background's predictor is not among them: it needs the driving picture, which no
# receiver has, and which the published demo does without in every mode.
PARTS = ("kp_detector", "dense_motion_network", "inpainting_network")


class SourceState(NamedTuple):
    """All that is computed once per source: its picture, features fine to coarse, the motion's part."""

    picture: Tensor
    levels: tuple[Tensor, ...]
    motion: MotionSource


class Tps(nn.Module):
    """The three networks of one configuration, in evaluation mode."""

    def __init__(self, config: TpsConfig = VOX_256) -> None:
        super().__init__()
        self.config = config
        self.kp_detector = KPDetector(config)
        self.dense_motion_network = DenseMotionNetwork(config)
        self.inpainting_network = InpaintingNetwork(config)
        self.eval()

    def encode_source(self, picture: Tensor, points: Tensor) -> SourceState:
        """Do what depends on the source alone: `picture` (B, 3, H, W) in [0, 1], its `points` (B, K, 2)."""
        levels = self.inpainting_network.encode_source(picture)
        return SourceState(picture, levels, self.dense_motion_network.encode_source(picture, points))

    def decode(self, state: SourceState, driving: Tensor) -> Rendered:
        """Draw the frames at `driving` (B, K, 2); `state` has B rows, or 1 that serves them all."""
        motion: Motion = self.dense_motion_network(state.motion, driving)
        return self.inpainting_network.decode(state.picture, state.levels, motion)

    def forward(self, picture: Tensor, source: Tensor, driving: Tensor) -> Rendered:
        """Draw `picture` (B, 3, H, W), whose points are `source`, at `driving`."""
        return self.decode(self.encode_source(picture, source), driving)

    def fingerprint(self) -> str:
        """Return what names these sizes and weights, wherever they were loaded from (16 hex digits)."""
        return checkpoint.fingerprint(self.state_dict(), asdict(self.config))


def save_tps(folder: Path | str, model: Tps) -> None:
    """Write `model` as a checkpoint folder of our own format; RequestError if it cannot be written."""
    checkpoint.save(folder, model.state_dict(), {"model": KIND, "sizes": asdict(model.config)})


def load_tps(path: Path | str, config: TpsConfig = VOX_256) -> Tps:
    """Load a public checkpoint file (.pth.tar) or a checkpoint folder of our own format, onto the CPU.

    `config` gives the sizes of a public file, which does not say them. Raises RequestError for anything that
    is not a complete, intact Thin-Plate-Spline model.
    """
    path = Path(path)
    if path.is_dir():
        return from_folder(lambda sizes: Tps(TpsConfig.from_mapping(sizes)), path, KIND, "TPS")
    parts = read_parts(path, PARTS, "TPS", "vox.pth.tar")
    sizes = config
    return from_parts(lambda: Tps(sizes), parts, path)
