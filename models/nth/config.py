"""The sizes of the neural talking head, and the two configurations that people have weights of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.sizes import read_sizes
from shared.errors import RequestError

MAX_BLOCKS = 8


@dataclass(frozen=True)
class NthConfig:
    """Sizes of the three networks; the defaults are the published vox-256 configuration.

    `spade` tells the two published generators apart. `detector_scale` 1 is the older "beta" configuration,
    whose detector sees the picture at full size.
    """

    image_size: int = 256
    num_kp: int = 15
    num_channels: int = 3
    spade: bool = False
    depth: int = 16
    feature_channels: int = 32
    temperature: float = 0.1
    detector_scale: float = 0.25
    detector_expansion: int = 32
    detector_max_features: int = 1024
    detector_blocks: int = 5
    estimator_width: int = 64
    angle_bins: int = 66
    motion_expansion: int = 32
    motion_max_features: int = 1024
    motion_blocks: int = 5
    motion_channels: int = 4
    generator_expansion: int = 64
    generator_max_features: int = 512
    generator_down_blocks: int = 2
    generator_blocks: int = 6
    spade_channels: int = 128
    kp_variance: float = 0.01

    def __post_init__(self) -> None:
        thinning = 1 / self.detector_scale if 0 < self.detector_scale <= 1 else 0.0
        depths = (self.detector_blocks, self.motion_blocks, self.generator_down_blocks, self.generator_blocks)
        if thinning not in {1, 2, 4, 8} or max(depths) > MAX_BLOCKS:
            raise RequestError(
                f"No talking head can have detector_scale {self.detector_scale} with {max(depths)} blocks; "
                "correct its config."
            )
        if self.spade and self.generator_down_blocks != 2:
            raise RequestError(
                "The SPADE generator upsamples twice, so it must downsample twice; correct its config."
            )
        halvings = (
            int(thinning) << self.detector_blocks,
            1 << (self.generator_down_blocks + self.motion_blocks),
        )
        if any(self.image_size % halving for halving in halvings) or self.image_size < 32:
            raise RequestError(
                f"A talking head's pictures of {self.image_size} pixels cannot be halved that often; "
                "correct its config."
            )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> NthConfig:
        """Build a config from `values`; RequestError as `read_sizes` says, or for sizes that do not fit."""
        return read_sizes(cls, values, "talking head")


VOX_256 = NthConfig()
VOX_256_SPADE = NthConfig(spade=True)
