"""The lines of a face of average proportions: where lips and brows end, in (u, v) of `shared.portrait.head`.

Painting and landmarks both go by these.
"""

from __future__ import annotations

import numpy as np

from shared.portrait.arrays import Array
from shared.portrait.head import MOUTH_V

# The red of the lips ends a little outside of the slit.
LIP_HALF = 0.168


def upper_lip_edge(u: Array) -> Array:
    """Return v of the upper lip's upper edge: Cupid's bow."""
    bow = np.clip(1 - (u / LIP_HALF) ** 2, 0, 1)
    edge: Array = MOUTH_V - 0.056 * bow**0.80 * (1 - 0.15 * np.exp(-((u / 0.026) ** 2)))
    return edge


def lower_lip_edge(u: Array) -> Array:
    """Return v of the lower lip's lower edge."""
    bow = np.clip(1 - (u / LIP_HALF) ** 2, 0, 1)
    edge: Array = MOUTH_V + 0.068 * bow**0.62
    return edge


def brow_line(a: Array) -> tuple[Array, Array]:
    """Return v of a brow's middle, and half of its height, at `a` = |u| from 0.08 to 0.385."""
    along = np.clip((a - 0.085) / 0.295, 0, 1)
    middle: Array = -0.120 - 0.040 * np.sin(along * 2.75) ** 1.2 + 0.032 * along**2.5
    half: Array = 0.0235 * (1 - 0.72 * along**1.5)
    return middle.astype(np.float32), half.astype(np.float32)
