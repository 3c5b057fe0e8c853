"""Keypoints as whole numbers: a lattice in which a step looks alike in the picture, whatever it moves.

A transform turns the D numbers of a frame into D others, z = T (x - mean), chosen once from training tracks
(`models.training.codec_tables.codec_command`) so that the mean squared error of the rendered picture is the
plain squared error of z: one step serves all of them, and so each keypoint number has a step of its own.
Whole numbers q stand for z = q * step. Going back is arithmetic of whole numbers alone and gives the same
bits on every machine; going there is the sender's own affair, since any q is a valid one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.keypoints import Floats

Indices = npt.NDArray[np.int64]

QUALITIES = 16
"""Quality numbers 0 (finest) to 15 (coarsest): each step is 2**(1/2) times the one before."""
MAX_INDEX = 1 << 24
MAX_MAGNITUDE = 1e3
"""Positions lie in [-1, 1] and Jacobians near it; anything past this is broken or hostile."""
MATRIX_BITS = 24
_STEP_BITS = 8
_STEPS = np.array([round(2 ** (_STEP_BITS + quality / 2)) for quality in range(QUALITIES)], np.int64)
_UNIT = 2.0 ** -(MATRIX_BITS + _STEP_BITS)
# A change smaller than this part of a step, either way, is no change: it costs bytes and hardly shows.
DEAD_ZONE = 0.6


@dataclass(frozen=True, eq=False)
class TransformQuantizer:
    """`matrix` (D, D) int32: what one step of each q adds to x at quality 0, times 2**24; `mean` (D,) too.

    Entries up to 2**24 in size keep every sum within 64 bits.
    """

    matrix: npt.NDArray[np.int32]
    mean: npt.NDArray[np.int32]

    def __post_init__(self) -> None:
        """Raise ValueError for other shapes, types or sizes, or a matrix that cannot be inverted."""
        for name, array, shape in (
            ("matrix", self.matrix, (self.dimensions, self.dimensions)),
            ("mean", self.mean, (self.dimensions,)),
        ):
            if array.shape != shape or array.dtype != np.int32:
                raise ValueError(f"the lattice's {name} is {array.dtype} {array.shape}, not int32 {shape}")
        if np.abs(self.matrix.astype(np.int64)).max() > 1 << MATRIX_BITS:
            raise ValueError("the lattice's matrix has entries over 1")
        if np.linalg.matrix_rank(self.matrix.astype(np.float64)) < self.dimensions:
            raise ValueError("the lattice's matrix is singular")
        inverse = np.linalg.inv(self.matrix.astype(np.float64) / 2.0**MATRIX_BITS)
        object.__setattr__(self, "_inverse", inverse)

    @property
    def dimensions(self) -> int:
        """D, how many numbers a frame has."""
        return len(self.matrix)

    def coordinates(self, frames: Floats, quality: int) -> npt.NDArray[np.float64]:
        """Return frames (T, D) in steps of `quality`: (T, D), not yet whole.

        Raise ValueError where a number is NaN, infinite or over 1e3, or does not fit in 2**24 steps.
        """
        check_frames(frames, self.dimensions)
        centred = frames.astype(np.float64) - self.mean / 2.0**MATRIX_BITS
        inverse: npt.NDArray[np.float64] = self._inverse  # type: ignore[attr-defined]
        steps = centred @ inverse.T * (2.0**_STEP_BITS / float(_STEPS[quality]))
        if np.abs(steps).max() >= MAX_INDEX / 2:
            raise ValueError("the frames hold keypoints too far out to be told in steps")
        return steps

    def restore(self, indices: Indices, quality: int, fraction_bits: int = 0) -> Floats:
        """Return the frames (T, D) that `indices` (T, D), each under 2**24 in size, stand for.

        They count 2**-`fraction_bits` steps.
        """
        sums = indices @ self.matrix.T.astype(np.int64) * _STEPS[quality]
        mean = self.mean.astype(np.int64) << (_STEP_BITS + fraction_bits)
        frames: Floats = ((sums + mean) * (_UNIT * 2.0**-fraction_bits)).astype(np.float32)
        return frames

    def coarser(self, indices: Indices, quality: int, target: int, fraction_bits: int = 0) -> Indices:
        """Return `indices` of `quality`, in 2**-`fraction_bits` steps, on the grid of `target`.

        By whole numbers alone.
        """
        step = _STEPS[target] << fraction_bits
        whole: Indices = (indices * _STEPS[quality] + step // 2) // step
        return whole


def check_frames(frames: Floats, dimensions: int) -> None:
    """Raise ValueError unless `frames` is (T, dimensions), T >= 1, of numbers up to 1e3 in size."""
    if frames.ndim != 2 or frames.shape[1] != dimensions or not len(frames):
        raise ValueError(f"frames have the shape {frames.shape}, not (T, {dimensions})")
    # NaN fails the comparison as well.
    if not bool(np.all(np.abs(frames) <= MAX_MAGNITUDE)):
        raise ValueError("the frames hold keypoints that are not plausible numbers")


def track(
    coordinates: npt.NDArray[np.float64], start: Indices | None, dead_zone: float = DEAD_ZONE
) -> Indices:
    """Return whole numbers (T, D) that follow `coordinates` (T, D), each from the one before.

    The first is the nearest to its coordinates, or follows `start` (D,) where that is given. A number stays
    as it was while its coordinate is within `dead_zone` steps of it: stillness is cheap, without flicker.
    """
    nearest = np.rint(coordinates).astype(np.int64)
    chosen = np.empty_like(nearest)
    before = nearest[0] if start is None else start
    for number, (exact, near) in enumerate(zip(coordinates, nearest, strict=True)):
        before = np.where(np.abs(exact - before) <= dead_zone, before, near)
        chosen[number] = before
    return chosen
