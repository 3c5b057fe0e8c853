"""The 175 landmarks that are kept of MediaPipe's face mesh: which they are, and what is read off them.

Positions are x, y in [-1, 1] of the picture, y down; "right" and "left" are the subject's. Rows count the
kept landmarks, numbers those of the whole mesh of 478 points (468 of the face, five of each iris).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
Points = npt.NDArray[np.floating[Any]]

# fmt: off
NUMBERS: tuple[int, ...] = (
    0, 1, 2, 4, 5, 6, 7, 9, 10, 13, 14, 17, 19, 21, 33, 37, 39, 40, 43, 46, 48, 50, 52, 53, 54, 55, 57, 58,
    61, 62, 63, 65, 66, 67, 70, 76, 78, 80, 81, 82, 84, 87, 88, 91, 93, 94, 95, 98, 103, 105, 106, 107, 109,
    122, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 151, 152, 153, 154, 155, 157, 158, 159, 160, 161,
    162, 163, 168, 172, 173, 175, 176, 178, 181, 185, 186, 191, 195, 197, 199, 200, 205, 234, 246, 249, 251,
    263, 267, 269, 270, 273, 276, 278, 280, 282, 283, 284, 285, 287, 288, 291, 292, 293, 295, 296, 297, 300,
    306, 308, 310, 311, 312, 314, 317, 318, 321, 323, 324, 327, 332, 334, 335, 336, 338, 351, 356, 361, 362,
    365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386, 387, 388, 389, 390, 397, 398, 400, 402,
    405, 409, 410, 415, 425, 454, 466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477,
)
"""The kept landmarks' numbers in the mesh, in the order of their rows."""
MIRROR: Rows = np.array((
    0, 1, 2, 3, 4, 5, 93, 7, 8, 9, 10, 11, 12, 94, 95, 96, 97, 98, 99, 100, 101, 102, 103, 104, 105, 106,
    107, 108, 109, 110, 111, 112, 113, 114, 115, 116, 117, 118, 119, 120, 121, 122, 123, 124, 125, 45, 126,
    127, 128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 138, 139, 140, 141, 142, 143, 64, 65, 144, 145,
    146, 147, 148, 149, 150, 151, 152, 153, 76, 154, 155, 79, 156, 157, 158, 159, 160, 161, 86, 87, 88, 89,
    162, 163, 164, 6, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33,
    34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60,
    61, 62, 63, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 77, 78, 80, 81, 82, 83, 84, 85, 90, 91, 92, 170,
    173, 172, 171, 174, 165, 168, 167, 166, 169,
))
"""MIRROR[row]: the row that says where `row` is once the picture is mirrored; its own inverse."""
# fmt: on

COUNT = len(NUMBERS)
_ROW = {number: row for row, number in enumerate(NUMBERS)}


def rows(*numbers: int) -> Rows:
    """Return the rows of mesh `numbers`; KeyError for one that is not kept."""
    return np.array([_ROW[number] for number in numbers])


RIGHT_EYE = rows(33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
"""The right eye's lids, from the outer corner along the lower lid to the inner one and back."""
LEFT_EYE = rows(263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
OUTER_LIPS = rows(
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185
)  # fmt: skip
"""The lips' outer edge, from the right corner along the lower lip to the left one and back."""
INNER_LIPS = rows(
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191
)  # fmt: skip
UPPER_LIP = rows(185, 40, 39, 37, 0, 267, 269, 270, 409, 191, 80, 81, 82, 13, 312, 311, 310, 415)
LOWER_LIP = rows(146, 91, 181, 84, 17, 314, 405, 321, 375, 95, 88, 178, 87, 14, 317, 402, 318, 324)
RIGHT_CORNER = rows(61, 185, 146, 40, 91, 78, 191, 95, 80, 88, 76, 62, 57, 43, 186, 106)
"""The points around the mouth's right corner."""
LEFT_CORNER = rows(291, 409, 375, 270, 321, 308, 415, 324, 310, 318, 306, 292, 287, 273, 410, 335)
NOSE = rows(1, 2, 4, 5, 6, 168, 195, 197, 98, 327, 48, 278, 19, 94, 122, 351, 50, 280, 205, 425)
BROW = rows(10, 67, 109, 338, 297, 151, 9, 70, 63, 105, 66, 107, 300, 293, 334, 296, 336, 103, 332)
"""The forehead and the brows."""
JAW = rows(152, 148, 377, 176, 400, 149, 378, 150, 379, 175, 199, 200, 136, 365)
RIGHT_IRIS = rows(468, 469, 470, 471, 472)
"""Its centre, then right, top, left, bottom in the picture."""
LEFT_IRIS = rows(473, 474, 475, 476, 477)
EYES = np.concatenate([RIGHT_EYE, LEFT_EYE])
LIPS = np.concatenate([OUTER_LIPS, INNER_LIPS])

RIGHT_PUPIL, LEFT_PUPIL, NOSE_TIP, CHIN, FOREHEAD = (int(row) for row in rows(468, 473, 1, 152, 10))
RIGHT_MOUTH, LEFT_MOUTH, UPPER_LIP_TOP, LOWER_LIP_BOTTOM = (int(row) for row in rows(61, 291, 0, 17))
# Upper and lower ends across the inner lips, and three times across each eye; outer and inner eye corners.
_HEIGHT, _LIPS = rows(10, 152), rows(13, 14)
_RIGHT_LIDS, _LEFT_LIDS = rows(159, 145, 158, 153, 160, 144), rows(386, 374, 385, 380, 387, 373)
_RIGHT_CORNERS, _LEFT_CORNERS = rows(33, 133), rows(362, 263)
_TINY = 1e-6

OPENINGS = ("lips", "lids", "gaze")
"""Names of what `openings` returns, in its order."""


def openings(points: Points) -> npt.NDArray[np.float64]:
    """Return how open lips and lids are and where the eyes look, (..., 3), of landmarks (..., 175, 2).

    - lips: the inner lips' gap over the height of the face, forehead to chin; 0 is shut.
    - lids: the gap between the lids, mean of three places, over the eye's width, mean of both eyes.
    - gaze: the iris's place along the eye from its picture-left corner (0) to its picture-right (1), mean of
      both eyes.

    NaN where there is no face. All three are free of the face's place and size, and nearly of its turn.
    """
    at = np.asarray(points, np.float64)
    face = np.maximum(_distances(at, _HEIGHT)[..., 0], _TINY)
    lips = _distances(at, _LIPS)[..., 0] / face
    lids = [
        _distances(at, gaps).mean(-1) / np.maximum(_distances(at, corners)[..., 0], _TINY)
        for gaps, corners in ((_RIGHT_LIDS, _RIGHT_CORNERS), (_LEFT_LIDS, _LEFT_CORNERS))
    ]
    gaze = [
        _along(at[..., pupil, :], at[..., corners, :])
        for pupil, corners in ((RIGHT_PUPIL, _RIGHT_CORNERS), (LEFT_PUPIL, _LEFT_CORNERS))
    ]
    return np.stack([lips, sum(lids) / 2, sum(gaze) / 2], -1)


def eye_distance(points: Points) -> npt.NDArray[np.float64]:
    """Return the distance between the middles of both eyes' lids, (...,), of landmarks (..., 175, 2)."""
    at = np.asarray(points, np.float64)
    between = at[..., RIGHT_EYE, :].mean(-2) - at[..., LEFT_EYE, :].mean(-2)
    return np.asarray(np.linalg.norm(between, axis=-1))


def mirrored(points: Points) -> Points:
    """Return the landmarks (..., 175, 2) of the mirrored picture."""
    at = points[..., MIRROR, :]
    return at * np.array([-1, 1], at.dtype)


def _distances(at: npt.NDArray[np.float64], pairs: Rows) -> npt.NDArray[np.float64]:
    """Return the distances (..., N) between the rows of `pairs` (2 N,), two by two."""
    return np.asarray(np.linalg.norm(at[..., pairs[::2], :] - at[..., pairs[1::2], :], axis=-1))


def _along(at: npt.NDArray[np.float64], ends: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return where `at` (..., 2) lies on the line between two `ends` (..., 2, 2): 0 at the first, 1 there."""
    line = ends[..., 1, :] - ends[..., 0, :]
    length = np.maximum((line**2).sum(-1), _TINY**2)
    return np.asarray(((at - ends[..., 0, :]) * line).sum(-1) / length)
