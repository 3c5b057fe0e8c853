"""Published networks in small: all their layers and figures a frame, few channels."""

from models.nth.config import NthConfig
from models.tps.config import TpsConfig

TPS = TpsConfig(
    detector_width=8, motion_expansion=4, motion_max_features=16, generator_expansion=4,
    generator_max_features=16,
)  # fmt: skip
NTH = NthConfig(
    depth=4, feature_channels=4, detector_expansion=4, detector_max_features=16, estimator_width=4,
    motion_expansion=4, motion_max_features=16, generator_expansion=4, generator_max_features=16,
    generator_blocks=2, spade_channels=8,
)  # fmt: skip
