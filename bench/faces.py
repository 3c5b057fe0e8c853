"""Faces in pictures: where they are, and how far lips and lids follow; the detector is given by path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from shared.errors import RequestError
from shared.keypoints import Pictures

Points = npt.NDArray[np.float64]
FACE_SIZE = 128
"""Faces are compared at this many pixels a side, however large they are in the picture."""
PATCH_SIZE = 32
# Of the distance between the eyes: the side of the square around the mouth, and of that around one eye.
_MOUTH_SIDE, _EYE_SIDE = 1.1, 0.6
_PADDING = 0.1
_CONFIDENCE = 0.7
# Pixels: what is smaller than these holds nothing that could be compared.
_SMALLEST_BOX, _SMALLEST_EYE_DISTANCE = 16, 8.0
_LUMA = np.array([0.299, 0.587, 0.114])


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

    def cut(self, picture: Pictures) -> Pictures:
        """Return what `picture` (H, W, 3) shows in the box: (128, 128, 3), uint8 RGB."""
        part = Image.fromarray(picture[self.top : self.bottom, self.left : self.right])
        return np.array(part.resize((FACE_SIZE, FACE_SIZE), Image.Resampling.BICUBIC), np.uint8)

    @property
    def mouth(self) -> Points:
        """The middle of the mouth, x and y in pixels."""
        middle: Points = self.points[3:].mean(0)
        return middle

    @property
    def eyes(self) -> Points:
        """The middle between the eyes, x and y in pixels."""
        middle: Points = self.points[:2].mean(0)
        return middle

    @property
    def eye_line(self) -> Points:
        """From one eye to the other, x and y in pixels; its length is the measure of the face."""
        line: Points = self.points[1] - self.points[0]
        return line


class FaceFinder:
    """Finds faces with the YuNet weights, an ONNX file, at `path`. Raises RequestError for another file."""

    def __init__(self, path: Path) -> None:
        import cv2

        if not path.is_file():
            raise RequestError(f"There is no face detector {path}; give the ONNX file of YuNet.")
        # What it says about its own backends is of no use to whoever measures faces.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        try:
            self._network: Any = cv2.FaceDetectorYN.create(
                str(path), "", (FACE_SIZE, FACE_SIZE), score_threshold=_CONFIDENCE
            )
            # Only a pass tells YuNet from another network: any ONNX file is taken.
            self._network.detect(np.zeros((FACE_SIZE, FACE_SIZE, 3), np.uint8))
        except cv2.error as error:
            raise RequestError(f"{path} is not a YuNet face detector; give its ONNX file.") from error

    def find(self, picture: Pictures) -> Face | None:
        """Return the largest face in `picture` (H, W, 3), uint8 RGB, or None where there is none."""
        height, width = picture.shape[:2]
        self._network.setInputSize((width, height))
        _, rows = self._network.detect(np.ascontiguousarray(picture[..., ::-1]))
        if rows is None or not len(rows):
            return None
        return face_from(max(rows, key=lambda row: float(row[2] * row[3])), width, height)


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


def lips_opening(picture: Pictures, face: Face) -> float:
    """Return how open the mouth at `face` looks: the steps in brightness down through it, over the mean.

    The sum of |difference| of neighbouring rows of the patch, averaged over the middle half of its columns:
    lips, teeth, tongue and the dark between them each add an edge as they come apart.
    """
    brightness = _middle(patch(picture, face.mouth, _MOUTH_SIDE * face.eye_line))
    return float(np.abs(np.diff(brightness, axis=0)).sum(0).mean() / _mean(brightness))


def lids_opening(picture: Pictures, face: Face) -> float:
    """Return how open the eyes at `face` look: the contrast of their patches, averaged over both eyes.

    The standard deviation of the brightness over its mean, of the middle half of the columns: an open eye
    shows white and iris, a closed one skin.
    """
    eyes = [_middle(patch(picture, eye, _EYE_SIDE * face.eye_line)) for eye in face.points[:2]]
    return float(np.mean([brightness.std() / _mean(brightness) for brightness in eyes]))


def _middle(square: Points) -> Points:
    """Return the brightness of the middle half of a patch's columns."""
    brightness: Points = square[:, PATCH_SIZE // 4 : -PATCH_SIZE // 4] @ _LUMA
    return brightness


def _mean(brightness: Points) -> float:
    """Return the mean, kept away from zero: a patch may be black."""
    return max(float(brightness.mean()), 1e-3)


@dataclass(frozen=True)
class Following:
    """How a part of a face opens over a clip: variance (mean square from the mean) and covariance.

    With d the opening in the driving frames and o that in the rendered frames at the same place:
    follow = cov(d, o) / var(d), the slope of o over d: 1 where it opens as far as it should, 0 where it does
    not, below 0 where it moves the other way. correlation = cov(d, o) / sqrt(var(d) var(o)), in [-1, 1].
    A still picture has 0, and head motion alone earns hardly anything: renderings of the drawn portrait whose
    head moves as it should while lips and lids rest have a follow of at most 0.1 in the tests. A soft
    rendering of the lips lowers the slope more than the correlation.
    """

    variance: float
    rendered_variance: float
    covariance: float

    @classmethod
    def of(cls, openings: Sequence[tuple[float, float]] | Points) -> Following:
        """Return the statistics of pairs (N, 2), driving and rendered; NaN for none."""
        if not len(openings):
            return cls(np.nan, np.nan, np.nan)
        wanted, got = (series - series.mean() for series in np.asarray(openings, np.float64).T)
        return cls(float(np.mean(wanted**2)), float(np.mean(got**2)), float(np.mean(wanted * got)))

    @property
    def follow(self) -> float:
        """The slope; NaN where nothing moves."""
        return self.covariance / self.variance if self.variance > 0 else np.nan

    @property
    def correlation(self) -> float:
        """The correlation; NaN where either does not move."""
        scale = float(np.sqrt(self.variance * self.rendered_variance))
        return self.covariance / scale if scale > 0 else np.nan


def patch(picture: Pictures, centre: Points, side: Points) -> Points:
    """Return the square around `centre` (x, y) whose upper side is the vector `side`: (32, 32, 3) in [0, 1].

    All in pixels of `picture` (H, W, 3). Four samples, bilinear, make one pixel; outside, the border repeats.
    """
    fine = 2 * PATCH_SIZE
    steps = (np.arange(fine) + 0.5) / fine - 0.5
    down = np.array([-side[1], side[0]])
    places = centre + steps[None, :, None] * side + steps[:, None, None] * down - 0.5
    sampled = _bilinear(picture, places[..., 0], places[..., 1])
    mean: Points = sampled.reshape(PATCH_SIZE, 2, PATCH_SIZE, 2, 3).mean((1, 3)) / 255
    return mean


def _bilinear(picture: Pictures, x: Points, y: Points) -> Points:
    height, width = picture.shape[:2]
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left, top = np.minimum(x.astype(int), width - 2), np.minimum(y.astype(int), height - 2)
    across, down = (x - left)[..., None], (y - top)[..., None]
    upper = picture[top, left] * (1 - across) + picture[top, left + 1] * across
    lower = picture[top + 1, left] * (1 - across) + picture[top + 1, left + 1] * across
    sampled: Points = upper * (1 - down) + lower * down
    return sampled
