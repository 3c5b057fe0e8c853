"""Motion transfer from one face to another, as far as it is independent of any network."""

from __future__ import annotations

import math

from shared.errors import RequestError
from shared.hulls import area
from shared.interfaces import Transfer
from shared.keypoints import Floats, KeypointLayout


def transfer_between(
    layout: KeypointLayout, source: Floats, initial: Floats, *, adapt_scale: bool = False
) -> Transfer:
    """Return what carries motion since the driving keypoints `initial` (D,) over to `source` (D,).

    With `adapt_scale` points move so much further as the source's are further apart: the root of the ratio of
    the areas of their convex hulls (Siarohin et al., NeurIPS 2019, the published `normalize_kp` with
    `adapt_movement_scale`). Raises RequestError where the initial points have no area.
    """
    scale = 1.0
    if adapt_scale:
        ours, theirs = (area(layout.positions(frame)) for frame in (source, initial))
        scale = scale_between(ours, theirs)
    return lambda driving: layout.transfer(source, driving, initial, scale)


def scale_between(ours: float, theirs: float) -> float:
    """Return how much larger what covers `ours` is than what covers `theirs`: the root of the ratio.

    Raises RequestError where that covers nothing.
    """
    if theirs <= 0:
        raise RequestError(
            "The keypoints of the first driving frame cover no area; leave out --adapt-scale, or start later."
        )
    return math.sqrt(ours / theirs)
