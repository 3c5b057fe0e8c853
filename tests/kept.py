"""What tests' backbones hand out for a source picture."""

from dataclasses import dataclass

from shared.interfaces import Source
from shared.keypoints import Floats, KeypointLayout, Pictures
from shared.transfer import transferred


@dataclass(frozen=True, eq=False)
class Kept:
    """The source picture itself, and its keypoints."""

    keypoints: Floats
    picture: Pictures


class Transferring:
    """Carries motion over as networks do that have no way of their own."""

    layout: KeypointLayout

    def transfer(
        self, source: Source, driving: Floats, initial: Floats, *, adapt_scale: bool = False
    ) -> Floats:
        """Return keypoints (T, D)."""
        return transferred(self.layout, source.keypoints, driving, initial, adapt_scale=adapt_scale)
