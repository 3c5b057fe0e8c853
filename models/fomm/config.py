"""The sizes of the First Order Motion Model, and the published configurations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.sizes import read_sizes
from shared.errors import RequestError

MAX_BLOCKS = 8


@dataclass(frozen=True)
class FommConfig:
    """Sizes of the three networks; the defaults are the published vox-256 configuration."""

    image_size: int = 256
    num_kp: int = 10
    num_channels: int = 3
    scale_factor: float = 0.25
    temperature: float = 0.1
    single_jacobian_map: bool = False
    detector_expansion: int = 32
    detector_max_features: int = 1024
    detector_blocks: int = 5
    motion_expansion: int = 64
    motion_max_features: int = 1024
    motion_blocks: int = 5
    generator_expansion: int = 64
    generator_max_features: int = 512
    generator_down_blocks: int = 2
    generator_bottleneck_blocks: int = 6
    kp_variance: float = 0.01

    def __post_init__(self) -> None:
        thinning = 1 / self.scale_factor if 0 < self.scale_factor <= 1 else 0.0
        depth = max(self.detector_blocks, self.motion_blocks, self.generator_down_blocks)
        if thinning not in {1, 2, 4, 8} or depth > MAX_BLOCKS:
            raise RequestError(
                f"No FOMM can have scale_factor {self.scale_factor} with {depth} blocks; correct its config."
            )
        if self.image_size % (int(thinning) * 2**depth):
            raise RequestError(
                f"FOMM pictures of {self.image_size} pixels cannot be halved {depth} times; fix its config."
            )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> FommConfig:
        """Build a config from `values`, where what is left out takes its default.

        Raises RequestError for an unknown name, a value of another type, or sizes that do not fit each other.
        """
        return read_sizes(cls, values, "FOMM")


VOX_256 = FommConfig()
MGIF_256 = FommConfig(single_jacobian_map=True)

# The published checkpoints differ in their data and training; only mgif differs in its layers.
PUBLISHED = {
    "vox-256": VOX_256,
    "vox-adv-256": VOX_256,
    "taichi-256": VOX_256,
    "taichi-adv-256": VOX_256,
    "bair-256": VOX_256,
    "fashion-256": VOX_256,
    "nemo-256": VOX_256,
    "mgif-256": MGIF_256,
}
