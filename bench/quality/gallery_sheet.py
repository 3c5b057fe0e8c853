"""A contact sheet: the video, and what few and more source pictures make of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bench.harness.report import replacing
from shared.keypoints import Pictures

Columns = tuple[Pictures, Pictures, Pictures]
"""Pictures (N, 256, 256, 3) of the same moments: the video, one source picture, four."""
_SIDE = 160
_GAP = 6


def write_sheet(path: Path, people: Sequence[Columns]) -> None:
    """Write one line a person: for each moment, source | 1 picture | 4 pictures. Raises KeycastError."""
    lines = [_line(columns) for columns in people]
    with replacing(path) as temporary:
        Image.fromarray(np.concatenate(lines)).save(temporary, "PNG")


def _line(columns: Columns) -> Pictures:
    gap = np.full((_SIDE, _GAP, 3), 255, np.uint8)
    parts = []
    for moment in zip(*columns, strict=True):
        parts += [*(_small(picture) for picture in moment), gap]
    line = np.concatenate(parts, axis=1)
    return np.concatenate([line, np.full((_GAP, line.shape[1], 3), 255, np.uint8)])


def _small(picture: Pictures) -> Pictures:
    return np.asarray(Image.fromarray(picture).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS))
