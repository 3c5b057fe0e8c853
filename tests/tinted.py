"""A backbone of 17 numbers, of all kinds, in plain NumPy: it moves its source picture about and tints it."""

import numpy as np

from shared import interfaces
from shared.codec.entropy import CdfTables
from shared.codec.quantization import MATRIX_BITS, TransformQuantizer
from shared.codec.tables import CodecTables
from shared.keypoints import Floats, Group, KeypointLayout, Pictures
from tests.kept import Kept, Transferring

LAYOUT = KeypointLayout(
    (Group.points(2), Group.jacobians(2), Group.numbers(3, reach=0.5), Group.numbers(1, 2, weight=0.25))
)
"""Where the picture's light lies, and its middle; Jacobians of both; its colour; two that stay 0."""
STEP = 2.0**-8


class Tinted(Transferring):
    """Pictures are dark but for a square of one colour: keypoints are its place and its colour."""

    name, fingerprint, detector = "tinted", "abc", "abc"
    layout = LAYOUT

    def __init__(self, size: int = 256) -> None:
        self.size, self.sizes = size, (size,)
        self.encoded: list[Pictures] = []

    def detect(self, frames: Pictures) -> Floats:
        """Return keypoints (B, 17)."""
        return np.stack([self._found(frame) for frame in frames])

    def encode(self, picture: Pictures) -> Kept:
        """Keep the picture."""
        self.encoded.append(picture)
        return Kept(self._found(picture), picture)

    def render(self, source: interfaces.Source, keypoints: Floats) -> Pictures:
        """Move the picture as far as its light has moved, and colour it."""
        assert isinstance(source, Kept)
        return np.stack([self._drawn(source, row) for row in keypoints])

    def warmup(self, *, detect: bool = True, render: bool = True) -> None:
        """Nothing is to be made ready."""

    def _found(self, picture: Pictures) -> Floats:
        picture = picture[::2, ::2]  # enough to see by
        light = picture.max(axis=2) > 64
        rows, columns = np.nonzero(light)
        place = np.array([columns.mean(), rows.mean()]) * 4 / (self.size - 1) - 1
        colour = picture[light].mean(axis=0) / 255 - 0.5
        jacobians = np.tile(np.eye(2).ravel(), 2)
        return np.concatenate([place, [0, 0], jacobians, colour, [0, 0]]).astype(np.float32)

    def _drawn(self, source: Kept, row: Floats) -> Pictures:
        moved = (row[:2] - source.keypoints[:2]) * (self.size - 1) / 2
        across, down = np.rint(moved).astype(int)
        picture = np.roll(source.picture, (down, across), (0, 1)).astype(np.float32)
        tinted = picture + 255 * (row[12:15] - source.keypoints[12:15]) * (
            picture.max(axis=2, keepdims=True) > 64
        )
        return np.rint(np.clip(tinted, 0, 255)).astype(np.uint8)


def square(left: int, top: int, colour: tuple[int, int, int], side: int = 256) -> Pictures:
    """Return a dark picture with a square of 64 pixels."""
    picture = np.zeros((side, side, 3), np.uint8)
    picture[top : top + 64, left : left + 64] = colour
    return picture


def tables(cdfs: CdfTables, levels: np.ndarray, error: float = 0.3) -> CodecTables:
    """Return codec tables for its keypoints: one step for all numbers; an error of 1 counts `error`.

    `cdfs` and `levels` are of any tables: they know nothing of how many numbers there are.
    """
    size = LAYOUT.dimensions
    matrix = np.rint(np.eye(size) * STEP * 2**MATRIX_BITS).astype(np.int32)
    mean = np.zeros(size, np.int32)
    mean[4:12] = np.tile([1 << MATRIX_BITS, 0, 0, 1 << MATRIX_BITS], 2)
    first, change = np.full(size, 36, np.int16), np.full(size, 4, np.int16)
    sensitivity = (error**2 * np.eye(size) / size).astype(np.float32)
    return CodecTables(
        TransformQuantizer(matrix, mean), cdfs, first, change, np.zeros_like(change), change, levels,
        sensitivity, Tinted.detector,
    )  # fmt: skip
