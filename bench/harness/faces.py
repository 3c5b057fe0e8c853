"""Faces in pictures, and where they are; the detector is given by path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.clips.faces import FaceDetector
from shared.keypoints import Pictures

Points = npt.NDArray[np.float64]
FACE_SIZE = 128
"""Faces are compared at this many pixels a side, however large they are in the picture of 256."""
_PADDING = 0.1
# Pixels: what is smaller than these holds nothing that could be compared.
_SMALLEST_BOX, _SMALLEST_EYE_DISTANCE = 16, 8.0


@dataclass(frozen=True, eq=False)
class Face:
    """One face: its padded box inside the picture, and five points (5, 2) as x, y in pixels.

    The points are the eyes (the one on the picture's left first), the tip of the nose, the mouth's corners.
    """

    left: int
    top: int
    right: int
    bottom: int
    points: Points

    def cut(self, picture: Pictures, size: int = FACE_SIZE) -> Pictures:
        """Return what `picture` (H, W, 3) shows in the box: (size, size, 3), uint8 RGB."""
        part = Image.fromarray(picture[self.top : self.bottom, self.left : self.right])
        return np.array(part.resize((size, size), Image.Resampling.BICUBIC), np.uint8)

    @property
    def eye_line(self) -> Points:
        """From one eye to the other, x and y in pixels; its length is the measure of the face."""
        line: Points = self.points[1] - self.points[0]
        return line


class FaceFinder:
    """Finds faces with the YuNet weights, an ONNX file, at `path`. Raises RequestError for another file."""

    def __init__(self, path: Path) -> None:
        self._detector = FaceDetector(path)

    def find(self, picture: Pictures) -> Face | None:
        """Return the largest face in `picture` (H, W, 3), uint8 RGB, or None where there is none."""
        rows = self._detector.rows(picture)
        return face_from(rows[0], *picture.shape[1::-1]) if len(rows) else None


def face_from(row: npt.NDArray[np.floating[Any]], width: int, height: int) -> Face | None:
    """Read one face from a detector's row: x, y, width, height, then five points as x and y.

    The box is padded by 10 % on each side and clamped to a picture of `width` x `height`. None for a face
    that is not finite, hardly inside, or whose eyes stand less than 8 pixels apart.
    """
    if not np.isfinite(row[:14]).all():
        return None
    x, y, w, h = (float(value) for value in row[:4])
    left, right = (round(min(max(place, 0), width)) for place in (x - _PADDING * w, x + (1 + _PADDING) * w))
    top, bottom = (round(min(max(place, 0), height)) for place in (y - _PADDING * h, y + (1 + _PADDING) * h))
    face = Face(left, top, right, bottom, np.asarray(row[4:14], np.float64).reshape(5, 2))
    small = min(right - left, bottom - top) < _SMALLEST_BOX
    return None if small or float(np.hypot(*face.eye_line)) < _SMALLEST_EYE_DISTANCE else face
