"""Positions of MediaPipe face mesh points on a drawn face: 175 of its 478, in the order of their numbers.

Right and left are the subject's: the right eye is on the picture's left.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from shared.portrait.arrays import Array
from shared.portrait.face import Places
from shared.portrait.features import brow_line, lower_lip_edge, upper_lip_edge
from shared.portrait.head import EYE_HALF, EYE_U, MOUTH_V, place_of

# The number of the point on the right, that on the left (the same in the middle), |u| and v.
_SKIN = (
    (0, 0, 0, "upper"), (17, 17, 0, "lower"), (37, 267, 0.050, "upper"), (39, 269, 0.098, "upper"),
    (40, 270, 0.131, "upper"), (185, 409, 0.155, "upper"), (84, 314, 0.054, "lower"),
    (181, 405, 0.098, "lower"), (91, 321, 0.132, "lower"), (146, 375, 0.154, "lower"),
    (55, 285, 0.085, "brow below"), (65, 295, 0.180, "brow below"), (52, 282, 0.258, "brow below"),
    (53, 283, 0.316, "brow below"), (46, 276, 0.360, "brow below"), (107, 336, 0.092, "brow above"),
    (66, 296, 0.190, "brow above"), (105, 334, 0.270, "brow above"), (63, 293, 0.335, "brow above"),
    (70, 300, 0.378, "brow above"),
    (10, 10, 0, -0.345), (151, 151, 0, -0.24), (9, 9, 0, -0.135), (168, 168, 0, -0.03), (6, 6, 0, 0.027),
    (197, 197, 0, 0.075), (195, 195, 0, 0.12), (5, 5, 0, 0.17), (4, 4, 0, 0.225), (1, 1, 0, 0.268),
    (19, 19, 0, 0.291), (94, 94, 0, 0.304), (2, 2, 0, 0.314), (200, 200, 0, 0.612), (199, 199, 0, 0.664),
    (175, 175, 0, 0.708), (152, 152, 0, 0.746), (122, 351, 0.04, 0.037), (48, 278, 0.127, 0.252),
    (98, 327, 0.115, 0.292), (50, 280, 0.32, 0.22), (205, 425, 0.265, 0.277), (43, 273, 0.186, 0.490),
    (57, 287, 0.214, 0.458), (106, 335, 0.155, 0.522), (186, 410, 0.20, 0.415), (67, 297, 0.23, -0.323),
    (109, 338, 0.124, -0.34),
)  # fmt: skip
# The outline: the angle around the head in degrees, and v.
_OUTLINE = (
    (103, 332, 41, -0.290), (54, 284, 52, -0.238), (21, 251, 61, -0.17), (162, 389, 72, -0.09),
    (127, 356, 79, 0.013), (234, 454, 85, 0.113), (93, 323, 87, 0.213), (132, 361, 87, 0.320),
    (58, 288, 85, 0.436), (172, 397, 83, 0.520), (136, 365, 79, 0.582), (150, 379, 75, 0.637),
    (149, 378, 69, 0.678), (176, 400, 59, 0.712), (148, 377, 42, 0.737),
)  # fmt: skip
# On the slit of the mouth: |u|, and which lip it moves with (0: neither).
_LIPS = (
    (13, 13, 0, -1), (82, 312, 0.042, -1), (81, 311, 0.077, -1), (80, 310, 0.105, -1),
    (191, 415, 0.130, -1), (14, 14, 0, 1), (87, 317, 0.042, 1), (178, 402, 0.077, 1),
    (88, 318, 0.105, 1), (95, 324, 0.130, 1), (78, 308, 0.153, 0), (62, 292, 0.158, 0),
    (76, 306, 0.163, 0), (61, 291, 0.169, 0),
)  # fmt: skip
# On the slits of the eyes: the place from the inner (-1) to the outer corner (1), and which lid.
_LIDS = (
    (33, 263, 1.0, 0), (133, 362, -1.0, 0), (246, 466, 0.90, -1), (161, 388, 0.77, -1),
    (160, 387, 0.53, -1), (159, 386, 0.17, -1), (158, 385, -0.20, -1), (157, 384, -0.58, -1),
    (173, 398, -0.86, -1), (7, 249, 0.84, 1), (163, 390, 0.66, 1), (144, 373, 0.41, 1), (145, 374, 0.05, 1),
    (153, 380, -0.32, 1), (154, 381, -0.66, 1), (155, 382, -0.88, 1),
)  # fmt: skip
_IRISES = range(468, 478)
NUMBERS = tuple(
    sorted({n for table in (_SKIN, _OUTLINE, _LIPS, _LIDS) for row in table for n in row[:2]} | {*_IRISES})
)


def _height(a: float, v: float | str) -> float:
    """Return v of a point that is given by the line it lies on."""
    at = np.array(a, np.float32)
    if v == "upper":
        return float(upper_lip_edge(at))
    if v == "lower":
        return float(lower_lip_edge(at))
    if isinstance(v, str):
        middle, half = brow_line(at)
        return float(middle + half * (0.9 if v.endswith("below") else -0.9))
    return float(v)


def _rows() -> dict[int, tuple[float, float, int, int]]:
    """Return angle, row, and sides of the eye's and the mouth's slit of each point, by its number."""
    found: dict[int, tuple[float, float, int, int]] = {}

    def add(numbers: tuple[int, int], angle: float, row: float, eye: int, mouth: int) -> None:
        found[numbers[0]] = (-angle, row, eye, mouth)
        found[numbers[1]] = (angle, row, eye, mouth)

    def at(u: float, v: float) -> tuple[float, float]:
        angle, row = place_of(np.array([u], np.float32), np.array([v], np.float32))
        return float(angle[0]), float(row[0])

    for right, left, a, v in _SKIN:
        height = _height(a, v)
        add((right, left), *at(a, height), 1 if height > 0 else -1, 1 if height > MOUTH_V else -1)
    for right, left, degrees, v in _OUTLINE:
        sides = 1 if v > 0 else -1, 1 if v > MOUTH_V else -1
        add((right, left), np.deg2rad(degrees), at(0.0, v)[1], *sides)
    for right, left, a, side in _LIPS:
        add((right, left), *at(a, MOUTH_V), 1, side)
    for right, left, s, side in _LIDS:
        add((right, left), *at(EYE_U + s * EYE_HALF, 0.0), side, -1)
    return found


@cache
def mesh_places() -> Places:
    """Return where all points but the irises' are, in the order of `NUMBERS`."""
    rows = _rows()
    table = np.array([rows[n] for n in NUMBERS if n not in _IRISES], np.float32)
    return Places(*table.T)


def iris_points(centre: Array, radius: float) -> Array:
    """Return both irises' points (10, 3): centre, then right, top, left and bottom in the picture."""
    ring = np.array([(0, 0, 0), (1, 0, 0), (0, -1, 0), (-1, 0, 0), (0, 1, 0)], np.float32)
    return np.concatenate([at + radius * ring for at in centre]).astype(np.float32)
