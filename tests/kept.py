"""What tests' backbones hand out for a source picture."""

from dataclasses import dataclass

from shared.keypoints import Floats, Pictures


@dataclass(frozen=True, eq=False)
class Kept:
    """The source picture itself, and its keypoints."""

    keypoints: Floats
    picture: Pictures
