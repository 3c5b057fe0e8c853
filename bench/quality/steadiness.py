"""Steadiness of a still head: the same picture again and again, but for a camera's noise."""

from __future__ import annotations

import math

import numpy as np

from models.landmarks.finder import LandmarkFinder
from shared.constants import SIZE
from shared.interfaces import Backbone, Source
from shared.keypoints import Floats, Pictures

FRAMES = 24
# Standard deviation in levels of 256, as of ffmpeg's noise=alls=12:allf=t: a cheap camera in the evening.
NOISE = 12 / math.sqrt(3)


def noisy(picture: Pictures, count: int = FRAMES) -> Pictures:
    """Return `picture` (H, W, 3) `count` times, each with noise of its own: (count, H, W, 3), uint8."""
    noise = np.random.default_rng(0).normal(0, NOISE, (count, *picture.shape))
    return (picture + noise).round().clip(0, 255).astype(np.uint8)


def jitter(backbone: Backbone, source: Source, picture: Pictures, finder: LandmarkFinder) -> float:
    """Return how far the face in `picture`, which `source` is of, moves when it is drawn without moving.

    In pixels, RMS over all landmarks and frames, each from its mean; NaN where no face is found.
    """
    drawn = backbone.render(source, backbone.detect(noisy(picture)))
    return moved(finder.in_place(drawn))


def moved(landmarks: Floats) -> float:
    """Return the RMS distance in pixels of landmarks (T, 175, 2) from their means; NaN without a face."""
    seen = landmarks[np.isfinite(landmarks).all((1, 2))]
    if not len(seen):
        return math.nan
    apart = (seen - seen.mean(0)) * (SIZE / 2)
    return float(np.sqrt(np.square(apart).sum(-1).mean()))
