"""Heads in a camera frame of any size: shrink, run the network, take the peaks."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from models.checkpoint import load, load_into
from models.head.network import STRIDE, UNIT, HeadConfig, HeadNetwork
from models.inference import prepare, to_tensor
from shared.heads import Head
from shared.keypoints import Pictures

MODEL = "head"
SURE = 0.4
"""From where on a cell counts as a face; who chooses whom to follow asks for more."""
_MOST_HEADS = 8
_SAME_HEAD = 0.4
"""Two peaks nearer than this share of the larger one's size are one face."""
_MOST_LOG_SIZE = 4.0


class NetworkHeadFinder:
    """A `shared.heads.HeadFinder`; runs on the CPU always, since its picture is tiny. One thread owns it."""

    def __init__(self, network: HeadNetwork, fingerprint: str = "") -> None:
        self.fingerprint = fingerprint
        self._side = network.config.side
        self._network = prepare(network)

    @classmethod
    def load(cls, folder: Path) -> NetworkHeadFinder:
        """Read the weights in `folder`; RequestError where they are missing or do not fit."""
        checkpoint = load(folder, expect=MODEL)
        sizes = {name: value for name, value in checkpoint.config.items() if name not in ("model", "format")}
        network = HeadNetwork(HeadConfig.from_map(sizes))
        load_into(network, checkpoint)
        return cls(network, checkpoint.fingerprint)

    @torch.inference_mode()
    def __call__(self, picture: Pictures) -> list[Head]:
        """Return the heads in `picture` (H, W, 3), uint8 RGB, in its pixels, the surest first; at most 8."""
        height, width = picture.shape[:2]
        small, scale = shrunken(picture, self._side)
        cells = self._network(to_tensor(small[None], "cpu", torch.float32))
        found = peaks(cells)[0]
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


def peaks(cells: Tensor, sure: float = SURE) -> list[list[tuple[float, float, float, float]]]:
    """Return the faces of each picture of `cells` (B, 4, h, w): x, y, size in its pixels, and score.

    A face is a cell at least `sure` that no neighbour surpasses and that is no second peak of a surer one.
    """
    scores = torch.sigmoid(cells[:, 0])
    highest = F.max_pool2d(scores[:, None], 3, 1, 1)[:, 0]
    is_peak = (scores >= sure) & (scores == highest)
    return [_of_one(cells[index], scores[index], is_peak[index]) for index in range(len(cells))]


def _of_one(cells: Tensor, scores: Tensor, is_peak: Tensor) -> list[tuple[float, float, float, float]]:
    rows, columns = torch.nonzero(is_peak, as_tuple=True)
    values = cells[:, rows, columns]
    x = (columns + 0.5 + values[1].clamp(-2, 2)) * STRIDE
    y = (rows + 0.5 + values[2].clamp(-2, 2)) * STRIDE
    size = UNIT * torch.exp(values[3].clamp(-_MOST_LOG_SIZE, _MOST_LOG_SIZE))
    found = torch.stack([x, y, size, scores[rows, columns]], 1).tolist()
    kept: list[tuple[float, float, float, float]] = []
    for one in sorted(found, key=lambda face: -face[3]):
        if all(math.hypot(one[0] - k[0], one[1] - k[1]) > _SAME_HEAD * max(one[2], k[2]) for k in kept):
            kept.append((one[0], one[1], one[2], one[3]))
    return kept[:_MOST_HEADS]
