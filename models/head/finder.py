"""Heads in a camera frame of any size: shrink, run the network, take the peaks."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from models import stored
from models.head.head_config import STRIDE, UNIT, HeadConfig
from models.head.numpy_layers import HeadLayers
from models.stored import Weights
from shared.keypoints import Floats, Pictures
from shared.media.heads import Head

MODEL = "head"
SURE = 0.4
"""From where on a cell counts as a face; who chooses whom to follow asks for more."""
_MAX_HEADS = 8
_SAME_HEAD = 0.4
"""Two peaks nearer than this share of the larger one's size are one face."""
_MAX_LOG_SIZE = 4.0


class NetworkHeadFinder:
    """A `shared.media.heads.HeadFinder`; its picture is tiny, so NumPy runs it. One thread owns it."""

    def __init__(self, layers: HeadLayers, side: int, fingerprint: str = "") -> None:
        self.fingerprint = fingerprint
        self._side = side
        self._layers = layers

    @classmethod
    def load(cls, folder: Path) -> NetworkHeadFinder:
        """Read the weights in `folder`; RequestError where they are missing or do not fit."""
        found = stored.read(folder, expect=MODEL)
        sizes = {name: value for name, value in found.config.items() if name not in ("model", "format")}
        config = HeadConfig.from_map(sizes)
        return cls(HeadLayers(config, Weights(MODEL, found.arrays)), config.side, found.fingerprint)

    def __call__(self, picture: Pictures) -> list[Head]:
        """Return the heads in `picture` (H, W, 3), uint8 RGB, in its pixels, the surest first; at most 8."""
        height, width = picture.shape[:2]
        small, scale = shrunken(picture, self._side)
        cells = self._layers(np.divide(small, 255, dtype=np.float32))
        found = peaks(cells.transpose(2, 0, 1)[None])[0]
        heads = [Head(x / scale, y / scale, size / scale, score) for x, y, size, score in found]
        return [head for head in heads if 0 <= head.x <= width and 0 <= head.y <= height]


def shrunken(picture: Pictures, side: int) -> tuple[Pictures, float]:
    """Return `picture` (H, W, 3) with its longer side brought to `side`, and the factor that did.

    The shorter side is filled up with grey, below or to the right, to a multiple of 8.
    """
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    # Frames are large and this runs between two of them: leave out pixels that only an average would miss.
    step = max(1, int(max(height, width) / (3 * side)))
    image = Image.fromarray(np.ascontiguousarray(picture[::step, ::step]))
    small = np.asarray(image.resize((columns, rows), Image.Resampling.BILINEAR, reducing_gap=2.0), np.uint8)
    filled = np.full((_multiple(rows), _multiple(columns), 3), 128, np.uint8)
    filled[:rows, :columns] = small
    return filled, scale


def _multiple(pixels: int) -> int:
    return math.ceil(pixels / STRIDE) * STRIDE


def peaks(cells: npt.ArrayLike, sure: float = SURE) -> list[list[tuple[float, float, float, float]]]:
    """Return the faces of each picture of `cells` (B, 4, h, w): x, y, size in its pixels, and score.

    A face is a cell at least `sure` that no neighbour surpasses and that is no second peak of a surer one.
    """
    return [_of_one(one, sure) for one in np.asarray(cells, np.float32)]


def _of_one(cells: Floats, sure: float) -> list[tuple[float, float, float, float]]:
    scores = 0.5 * np.tanh(0.5 * cells[0]) + 0.5
    rows, columns = np.nonzero((scores >= sure) & (scores == _highest(scores)))
    values = cells[:, rows, columns]
    x = (columns + 0.5 + np.clip(values[1], -2, 2)) * STRIDE
    y = (rows + 0.5 + np.clip(values[2], -2, 2)) * STRIDE
    size = UNIT * np.exp(np.clip(values[3], -_MAX_LOG_SIZE, _MAX_LOG_SIZE))
    found = np.stack([x, y, size, scores[rows, columns]], 1).tolist()
    kept: list[tuple[float, float, float, float]] = []
    for one in sorted(found, key=lambda face: -face[3]):
        if all(math.hypot(one[0] - k[0], one[1] - k[1]) > _SAME_HEAD * max(one[2], k[2]) for k in kept):
            kept.append((one[0], one[1], one[2], one[3]))
    return kept[:_MAX_HEADS]


def _highest(scores: Floats) -> Floats:
    """Return the highest (h, w) of each cell and its up to eight neighbours."""
    padded = np.pad(scores, 1, constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    highest: Floats = windows.max((2, 3))
    return highest
