"""The head's bare shape: lofted cross-sections with nose, lips and the rest as hills and hollows on them.

Coordinates are those of a face: the origin between the eyes, x to the right of the picture, y down, z towards
the viewer; one unit is about 15 cm, so that the eyes are 0.42 apart. A place on the head has two names: the
angle around it (0 in front, negative on the picture's left) and the row (0 at the crown, 16 under the chin).
Where features are is said in (u, v), the x and y that the place has on the face of average proportions.
"""

from __future__ import annotations

import numpy as np

from shared.portrait.arrays import Array, bump, smooth
from shared.portrait.person import Shape

EYE_ROW, MOUTH_ROW = 7.0, 10.5
EYE_U, EYE_HALF = 0.2045, 0.0905
MOUTH_V, MOUTH_HALF = 0.452, 0.160

# Height y, half width, front z, z of the widest place, back z, roundness of the front; from anthropometry
# (breadth of head 154 mm and face 137 mm, length of head 195 mm, eyes half way up).
_SECTIONS = np.array([
    (-0.800, 0.000, -0.52, -0.52, -0.52, 2.0),
    (-0.765, 0.200, -0.29, -0.53, -0.78, 2.0),
    (-0.675, 0.335, -0.125, -0.54, -0.98, 2.0),
    (-0.545, 0.422, -0.022, -0.55, -1.12, 2.0),
    (-0.400, 0.468, 0.030, -0.55, -1.20, 2.0),
    (-0.250, 0.485, 0.060, -0.52, -1.23, 2.05),
    (-0.120, 0.485, 0.070, -0.48, -1.22, 2.15),
    (0.000, 0.476, 0.055, -0.44, -1.18, 2.3),
    (0.130, 0.464, 0.052, -0.42, -1.10, 2.4),
    (0.270, 0.445, 0.060, -0.40, -1.00, 2.35),
    (0.400, 0.415, 0.072, -0.37, -0.90, 2.2),
    (0.500, 0.375, 0.066, -0.33, -0.80, 2.1),
    (0.585, 0.315, 0.044, -0.26, -0.66, 2.05),
    (0.655, 0.245, 0.034, -0.20, -0.50, 2.0),
    (0.710, 0.172, 0.018, -0.15, -0.38, 2.0),
    (0.748, 0.098, -0.022, -0.12, -0.27, 2.0),
    (0.762, 0.000, -0.120, -0.12, -0.12, 2.0),
], np.float32)  # fmt: skip
ROWS = len(_SECTIONS) - 1

# Hills and hollows that stand on both sides: height, |u|, v, wide, high.
_RELIEF = (
    (0.020, 0.170, -0.105, 0.150, 0.050), (-0.078, 0.165, 0.005, 0.110, 0.075),
    (0.046, 0.205, 0.002, 0.078, 0.052), (-0.020, 0.113, 0.012, 0.022, 0.030),
    (0.024, 0.300, 0.150, 0.110, 0.090), (-0.018, 0.430, -0.100, 0.060, 0.130),
    (0.046, 0.102, 0.264, 0.030, 0.038), (-0.045, 0.172, 0.468, 0.050, 0.050),
    (-0.034, 0.300, 0.005, 0.045, 0.060),
    (-0.012, 0.265, 0.400, 0.060, 0.120), (-0.012, 0.150, 0.330, 0.022, 0.070),
    (0.012, 0.215, 0.330, 0.060, 0.100),
)  # fmt: skip
# The same in the middle.
_MIDDLE = (
    (0.034, 0.0, 0.415, 0.150, 0.110), (0.020, 0.0, 0.427, 0.085, 0.020), (0.032, 0.0, 0.500, 0.085, 0.034),
    (-0.024, 0.0, 0.452, 0.140, 0.012), (-0.022, 0.0, 0.572, 0.110, 0.026), (0.040, 0.0, 0.662, 0.105, 0.075),
    (-0.010, 0.0, 0.372, 0.014, 0.035), (0.010, 0.0, -0.300, 0.220, 0.150),
)  # fmt: skip
_NOSE_V = np.array([-0.14, -0.06, -0.02, 0.03, 0.08, 0.13, 0.18, 0.225, 0.26, 0.285, 0.302, 0.318, 0.34])
_NOSE_Z = np.array([0.0, 0.018, 0.035, 0.065, 0.097, 0.127, 0.153, 0.170, 0.168, 0.145, 0.090, 0.030, 0.0])
_NOSE_WIDE = np.array(
    [0.095, 0.082, 0.073, 0.069, 0.069, 0.072, 0.076, 0.082, 0.085, 0.082, 0.074, 0.066, 0.066]
)


def sections(shape: Shape) -> Array:
    """Return the cross-sections (17, 6) of one person's head; see `_SECTIONS`."""
    table = _SECTIONS.copy()
    row = np.arange(len(table))
    lower = smooth(np.asarray(table[:, 0]), 0.50, 0.76)
    jaw = np.exp(-(((row - 12.2) / 2.2) ** 2)).astype(np.float32)
    cheeks = np.exp(-(((row - 8.5) / 1.8) ** 2)).astype(np.float32)
    temples = np.exp(-(((row - 5.0) / 1.8) ** 2)).astype(np.float32)
    table[:, 1] *= shape.width * (
        1 + shape.jaw * jaw + 0.6 * (shape.cheeks - 0.3 * shape.jaw) * cheeks + shape.temples * temples
    )
    table[:, 0] += shape.chin * lower
    table[:, 0] -= shape.forehead * smooth(np.asarray(-_SECTIONS[:, 0]), 0.05, 0.8)
    table[:, 2] += shape.chin_out * np.exp(-(((row - 14) / 1.6) ** 2)) * (row < ROWS)
    return table


def _loft(table: Array, rows: Array) -> Array:
    """Return the table between its rows: (..., columns), by Catmull-Rom splines."""
    before, after = 2 * table[0] - table[1], 2 * table[-1] - table[-2]
    before[0], after[0] = table[1, 0], table[-2, 0]
    padded = np.concatenate([before[None], table, after[None]])
    index = np.clip(np.floor(rows).astype(np.int64), 0, len(table) - 2)
    t = (rows - index)[..., None]
    a, b, c, d = (padded[index + i] for i in range(4))
    lofted = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.asarray(lofted, np.float32)


def loft_point(table: Array, angle: Array, rows: Array) -> Array:
    """Return the places (..., 3) of a lofted body at `angle` and `rows`, which are broadcast."""
    y, wide, front, middle, back, round_ = np.moveaxis(_loft(table, rows), -1, 0)
    sin, cos = np.sin(angle), np.cos(angle)
    ahead = cos > 0
    power = np.where(ahead, round_, np.float32(2))
    reach = (np.abs(sin) ** power + np.abs(cos) ** power) ** (-1 / power)
    x = wide * reach * sin
    z = middle + np.where(ahead, front - middle, middle - back) * reach * cos
    return np.stack([x, np.broadcast_to(y, x.shape), z], axis=-1).astype(np.float32)


def average(angle: Array, rows: Array) -> tuple[Array, Array]:
    """Return (u, v) of places on the head."""
    place = loft_point(_SECTIONS, angle, rows)
    return place[..., 0].copy(), place[..., 1].copy()


def place_of(u: Array, v: Array) -> tuple[Array, Array]:
    """Return angle and row of places (u, v) on the front: what `average` turns back."""
    grid = np.linspace(0, ROWS, 1601, dtype=np.float32)
    rows = np.interp(v, _loft(_SECTIONS, grid)[:, 0], grid).astype(np.float32)
    wide, round_ = np.moveaxis(_loft(_SECTIONS, rows)[..., [1, 5]], -1, 0)
    across = np.clip(np.abs(u) / wide, 0, 0.9999) ** round_
    angle = np.arctan2(across ** (1 / round_), (1 - across) ** (1 / round_)) * np.sign(u)
    return angle.astype(np.float32), rows


def relief(u: Array, v: Array, shape: Shape) -> Array:
    """Return how far the features stand out of the lofted head at (u, v), on the front."""
    # Without a kink in the middle.
    a = np.sqrt(u * u + np.float32(0.0009))
    height = np.zeros_like(u)
    for size, at_u, at_v, wide, high in _RELIEF:
        height += size * bump(a, v, at_u, at_v, wide, high)
    for size, at_u, at_v, wide, high in _MIDDLE:
        height += size * bump(u, v, at_u, at_v, wide, high)
    height += shape.cheekbones * bump(a, v, 0.310, 0.140, 0.10, 0.08)
    height += shape.brow_ridge * bump(a, v, 0.16, -0.11, 0.16, 0.045)
    height += shape.cheeks * 0.25 * bump(a, v, 0.29, 0.33, 0.11, 0.12)
    lift = shape.nose_tip * bump(u, v, 0, 0.27, 1.0, 0.05)
    ridge = np.interp(v + lift, _NOSE_V, _NOSE_Z) * shape.nose_out
    ridge = ridge + shape.nose_hump * bump(u, v, 0, 0.09, 1.0, 0.06)
    wide = np.interp(v, _NOSE_V, _NOSE_WIDE) * (0.6 + 0.4 * shape.nose_width)
    height += ridge * np.exp(-((a / wide) ** 2))
    return np.asarray(height, np.float32)


def surface(shape: Shape, angle: Array, rows: Array) -> Array:
    """Return the places (..., 3) on one person's resting face, eyes shut, at `angle` and `rows`."""
    place = loft_point(sections(shape), angle, rows)
    front = np.broadcast_to(np.cos(angle), place.shape[:-1]) > 0
    share = np.broadcast_to(smooth(np.cos(angle), 0.0, 0.25), front.shape)[front]
    u, v = average(angle, rows)
    u, v = u[front], v[front]
    x, y = _moved(u, v, shape)
    place[front] += np.stack([x * share, y * share, relief(u, v, shape) * share], -1)
    return place


def _moved(u: Array, v: Array, shape: Shape) -> tuple[Array, Array]:
    """Return how far this person's features lie from the average place, in x and in y."""
    a, side = np.abs(u), np.sign(u)
    eye = bump(a, v, EYE_U, -0.01, 0.15, 0.09)
    lids = bump(a, v, EYE_U, 0.0, 0.13, 0.07)
    across, along = a - EYE_U, v
    x = shape.eye_spacing * eye + (shape.eye_size - 1) * across * lids
    y = shape.eye_height * eye + (shape.eye_size - 1) * along * lids - shape.eye_slant * across * lids
    brow = bump(a, v, 0.20, -0.13, 0.20, 0.06)
    y = y + shape.brow_height * brow - shape.brow_slant * (a - 0.19) * brow
    wings = bump(a, v, 0.07, 0.26, 0.10, 0.07)
    x = x + (shape.nose_width - 1) * a * wings
    y = y + shape.nose_length * bump(a, v, 0, 0.27, 0.16, 0.11)
    mouth = bump(a, v, 0.10, MOUTH_V, 0.19, 0.11)
    x = x + (shape.mouth_width - 1) * a * mouth
    y = y + shape.mouth_height * bump(a, v, 0, MOUTH_V, 0.26, 0.13)
    # The line of the lips: its corners stand a little lower or higher.
    y = y - shape.mouth_corners * (np.minimum(a / MOUTH_HALF, 1.3) ** 2 - 0.4) * mouth
    thick = np.where(v < MOUTH_V, shape.upper_lip, shape.lower_lip) - 1
    y = y + thick * (v - MOUTH_V) * bump(a, v, 0, MOUTH_V, 0.2, 0.075)
    return np.asarray(x * side, np.float32), np.asarray(y, np.float32)
