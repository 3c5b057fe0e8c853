"""A block of frames as what it does over time: the discrete cosine transform (DCT-II), orthonormal.

Faces move smoothly. Of a block's coefficients most are therefore near zero, and coded instead of changes from
frame to frame they take a fifth fewer bytes at the same error (`docs/measurements.md`). Going back from whole
numbers is arithmetic of whole numbers alone, and gives the same bits on every machine.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

FRACTION_BITS = 4
"""What comes back is in so many binary digits less than a step."""
SLOPE_BITS = 8
_BASIS_BITS = 20


@cache
def basis(count: int) -> Indices:
    """Return the transform of `count` frames, times 2**20: a row for each coefficient, the mean's first."""
    frame, coefficient = np.arange(count), np.arange(count)[:, None]
    waves = np.cos(np.pi * (2 * frame + 1) * coefficient / (2 * count)) * np.sqrt(2 / count)
    waves[0] = np.sqrt(1 / count)
    return _frozen(waves * 2**_BASIS_BITS)


@cache
def slopes(count: int) -> Indices:
    """Return how large coefficients (count,) of a random walk usually are, in log2, times 2**8.

    The first, which is no walk's, is that of a constant.
    """
    walk = 2 * np.sin(np.pi * np.arange(1, count) / (2 * count))
    return _frozen(np.concatenate([[np.log2(count) / 2], -np.log2(walk)]) * 2**SLOPE_BITS)


def coefficients(coordinates: Doubles) -> Doubles:
    """Return the coefficients (T, D) of `coordinates` (T, D), both in steps, not yet whole."""
    exact: Doubles = (basis(len(coordinates)) * 2.0**-_BASIS_BITS) @ coordinates
    return exact


def inverse(numbers: Indices) -> Indices:
    """Return what coefficients (T, D), under 2**24 in size, stand for: (T, D) in 2**-4 steps."""
    shift = _BASIS_BITS - FRACTION_BITS
    return np.asarray((basis(len(numbers)).T @ numbers + (1 << (shift - 1))) >> shift)


def _frozen(exact: Doubles) -> Indices:
    whole: Indices = np.rint(exact).astype(np.int64)
    whole.setflags(write=False)
    return whole
