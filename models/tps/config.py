"""The sizes of the Thin-Plate-Spline Motion Model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.sizes import read_sizes
from shared.errors import RequestError

# Keypoints of one transformation: as published, and as the thin plates' equations are written.
GROUP = 5
MAX_BLOCKS = 8
# Occlusion maps, from the coarsest features of the inpainting network to the picture itself.
MASKS = 4


@dataclass(frozen=True)
class TpsConfig:
    """Sizes of the three networks; the defaults are those of all published configurations."""

    image_size: int = 256
    num_tps: int = 10
    num_channels: int = 3
    scale_factor: float = 0.25
    detector_width: int = 64
    motion_expansion: int = 64
    motion_max_features: int = 1024
    motion_blocks: int = 5
    generator_expansion: int = 64
    generator_max_features: int = 512
    kp_variance: float = 0.01

    def __post_init__(self) -> None:
        thinning = 1 / self.scale_factor if 0 < self.scale_factor <= 1 else 0.0
        if thinning not in {1, 2, 4} or not self.doublings < self.motion_blocks <= MAX_BLOCKS:
            raise RequestError(
                f"No TPS model can have scale_factor {self.scale_factor} with {self.motion_blocks} blocks; "
                "correct its config."
            )
        halvings = int(thinning) << self.motion_blocks
        if self.image_size % max(halvings, 32):
            raise RequestError(
                f"TPS pictures of {self.image_size} pixels cannot be halved {self.motion_blocks} times at "
                "the scale of the motion; correct its config."
            )

    @property
    def num_kp(self) -> int:
        """Keypoints of a frame, `GROUP` for each transformation."""
        return GROUP * self.num_tps

    @property
    def doublings(self) -> int:
        """How often the motion's resolution is doubled to that of the picture."""
        return round(1 / self.scale_factor).bit_length() - 1

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> TpsConfig:
        """Build a config from `values`; RequestError as `read_sizes` says, or for sizes that do not fit."""
        return read_sizes(cls, values, "TPS")


VOX_256 = TpsConfig()
