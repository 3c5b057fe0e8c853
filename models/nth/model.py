"""The whole model: detector, estimator and generator under one roof, from public checkpoints or our own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from torch import Tensor, nn

from models import checkpoint
from models.nth.config import VOX_256, VOX_256_SPADE, NthConfig
from models.nth.detectors import HEEstimator, KPDetector
from models.nth.generator import Generator, OriginalGenerator, SpadeGenerator
from models.nth.pose import Pose
from models.public import State, from_folder, from_parts, read_parts
from shared.errors import RequestError

KIND = "nth"
PARTS = ("kp_detector", "he_estimator", "generator")


class Nth(nn.Module):
    """The three networks of one configuration, in evaluation mode."""

    def __init__(self, config: NthConfig = VOX_256) -> None:
        super().__init__()
        self.config = config
        self.kp_detector = KPDetector(config)
        self.he_estimator = HEEstimator(config)
        self.generator: Generator = SpadeGenerator(config) if config.spade else OriginalGenerator(config)
        self.eval()

    def find(self, picture: Tensor) -> tuple[Tensor, Pose]:
        """Return the canonical keypoints (B, K, 3) of pictures (B, 3, H, W), and how the heads are held."""
        return self.kp_detector(picture), self.he_estimator(picture)

    def fingerprint(self) -> str:
        """Return what names these sizes and weights, wherever they were loaded from (16 hex digits)."""
        return checkpoint.fingerprint(self.state_dict(), asdict(self.config))


def save_nth(folder: Path | str, model: Nth) -> None:
    """Write `model` as a checkpoint folder of our own format; RequestError if it cannot be written."""
    checkpoint.save(folder, model.state_dict(), {"model": KIND, "sizes": asdict(model.config)})


def load_nth(path: Path | str, config: NthConfig | None = None) -> Nth:
    """Load a public checkpoint file or a checkpoint folder of our own format, onto the CPU.

    A public file does not say its sizes: `config` gives them, by default the published ones that fit. Which
    generator it holds is recognised by the names of its weights. Raises RequestError for anything that is not
    a complete, intact talking head, and for weights of the older code, which computes otherwise.
    """
    path = Path(path)
    if path.is_dir():
        return from_folder(lambda sizes: Nth(NthConfig.from_mapping(sizes)), path, KIND, "talking head")
    parts = read_parts(path, PARTS, "talking head", "00000189-checkpoint.pth.tar")
    sizes = config or published_config(parts, path)
    return from_parts(lambda: Nth(sizes), parts, path)


def published_config(parts: Mapping[str, State], path: Path) -> NthConfig:
    """Tell the generator by its names, and the older code's weights by the detector that only these have.

    Their names and shapes are otherwise those of today. That code halved volumes by strided convolutions,
    doubled them trilinearly and turned by Rx(roll) Ry(pitch) Rz(yaw): pictures would be wrong, and no word.
    """
    if "down.weight" not in parts["kp_detector"]:
        raise RequestError(
            f"{path} was trained by the talking head's code from before November 2021 (Vox-256-Beta), which "
            "computes differently from today's; use weights of the newer code, such as Vox-256-New."
        )
    spade = any(name.startswith("decoder.") for name in parts["generator"])
    return VOX_256_SPADE if spade else VOX_256
