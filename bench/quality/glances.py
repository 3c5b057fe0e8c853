"""Gaze alone: how much of a glance is rendered of a face that does nothing else."""

from __future__ import annotations

import math

import numpy as np

from bench.harness.following import Following
from models.landmarks.finder import LandmarkFinder
from models.landmarks.glance import looking
from models.landmarks.points import OPENINGS, openings
from shared.interfaces import Backbone, Source
from shared.keypoints import Pictures

ASIDE = (-0.2, -0.1, 0.0, 0.1, 0.2)
"""How far irises are moved, in eye widths."""
_GAZE = OPENINGS.index("gaze")
# Less than this was moved where an eye is shut or an iris in its corner, and less than that the finder sees.
_MIN_MOVED, _MIN_SEEN = 0.3, 0.1


def gaze_alone(backbone: Backbone, source: Source, picture: Pictures, finder: LandmarkFinder) -> float:
    """Return how far the eyes of `picture`, which `source` is of, move when it is shown looking aside.

    1 as far as those of the pictures that it is driven by, in which only the irises move; 0 not at all. Both
    are seen by `finder`, which sees some half of it. NaN where there is no open eye.
    """
    (face,) = finder.in_place([picture])
    count = len(ASIDE)
    driving, told = looking([picture] * count, np.stack([face] * count), np.array(ASIDE, np.float32))
    moved = openings(told)[:, _GAZE]
    if not np.isfinite(moved).all() or np.ptp(moved) < _MIN_MOVED:
        return math.nan
    rendered = backbone.render(source, backbone.detect(np.stack(driving)))
    true, drawn = (
        Following.of(moved, openings(finder.in_place([picture, *pictures]))[1:, _GAZE]).slope
        for pictures in (driving, rendered)
    )
    return drawn / true if true > _MIN_SEEN else math.nan
