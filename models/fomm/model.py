"""The whole model: detector and generator under one roof, loaded from public checkpoints or our own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from torch import Tensor, nn

from models import checkpoint
from models.fomm.config import MGIF_256, VOX_256, FommConfig
from models.fomm.generator import OcclusionAwareGenerator
from models.fomm.keypoint_detector import KPDetector
from models.public import from_folder, from_parts, read_parts

KIND = "fomm"
PARTS = ("kp_detector", "generator")


class Fomm(nn.Module):
    """`kp_detector` and `generator` of one configuration, in evaluation mode."""

    def __init__(self, config: FommConfig = VOX_256) -> None:
        super().__init__()
        self.config = config
        self.kp_detector = KPDetector(config)
        self.generator = OcclusionAwareGenerator(config)
        self.eval()

    def fingerprint(self) -> str:
        """Return what names these sizes and weights, wherever they were loaded from (16 hex digits)."""
        return checkpoint.fingerprint(self.state_dict(), asdict(self.config))


def save_fomm(folder: Path | str, model: Fomm) -> None:
    """Write `model` as a checkpoint folder of our own format; RequestError if it cannot be written."""
    checkpoint.save(folder, model.state_dict(), {"model": KIND, "sizes": asdict(model.config)})


def load_fomm(path: Path | str, config: FommConfig | None = None) -> Fomm:
    """Load a public checkpoint file (.pth, .pth.tar) or a checkpoint folder of our own format, onto the CPU.

    A public file does not say its sizes: `config` gives them, by default the published ones that fit. A file
    is only ever read as data (`weights_only=True`): code in it is refused. Raises RequestError for anything
    that is not a complete, intact FOMM.
    """
    path = Path(path)
    if path.is_dir():
        return from_folder(lambda sizes: Fomm(FommConfig.from_mapping(sizes)), path, KIND, "FOMM")
    parts = read_parts(path, PARTS, "FOMM", "vox-cpk.pth.tar")
    sizes = config or _published_config(parts)
    return from_parts(lambda: Fomm(sizes), parts, path)


def _published_config(parts: Mapping[str, Mapping[str, Tensor]]) -> FommConfig:
    bias = parts["kp_detector"].get("jacobian.bias")
    return MGIF_256 if bias is not None and bias.numel() == 4 else VOX_256
