"""Encoded source pictures of the tests' backbones."""

from dataclasses import dataclass

from shared.interfaces import Source, Transfer
from shared.keypoints import Floats, KeypointLayout, Pictures
from shared.transfer import transfer_between


@dataclass(frozen=True, eq=False)
class Kept:
    """The source picture itself, and its keypoints."""

    keypoints: Floats
    picture: Pictures


class Transferring:
    """Carries motion over as networks do that have no way of their own."""

    layout: KeypointLayout

    def transfer(self, source: Source, initial: Floats, *, adapt_scale: bool = False) -> Transfer:
        """Return what carries motion over."""
        return transfer_between(self.layout, source.keypoints, initial, adapt_scale=adapt_scale)
