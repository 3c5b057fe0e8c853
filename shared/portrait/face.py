"""One person's face as a mesh that moves: eyes and mouth are slits in it, expressions are blend shapes.

At rest both are shut. Two rows of vertices lie on each slit, one for each lip or lid; where they part, the
strip between them is what is seen of the eyeball or the mouth. Landmarks are vertices like all others, so
that they are where the drawing is in every pose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.portrait.arrays import Array, bump, smooth
from shared.portrait.head import (
    EYE_HALF,
    EYE_ROW,
    EYE_U,
    MOUTH_HALF,
    MOUTH_ROW,
    MOUTH_V,
    ROWS,
    average,
    place_of,
    surface,
)
from shared.portrait.mesh import grid_faces
from shared.portrait.person import Shape
from shared.portrait.pose import Pose

# Where the jaw hangs: height and depth of its joints.
_JOINT_Y, _JOINT_Z = 0.16, -0.42
_JAW = 0.36
IRIS = 0.0395
_LOOK = (0.040, 0.024)


@dataclass(frozen=True)
class Places:
    """Places on a face: angle, row, and on which side of the slits they are: -1 above, 1 below, 0 on it."""

    angle: Array
    row: Array
    eye_side: Array
    mouth_side: Array

    @staticmethod
    def join(*parts: Places) -> Places:
        """Return all of `parts`, one behind the other."""
        names = ("angle", "row", "eye_side", "mouth_side")
        return Places(*(np.concatenate([getattr(p, n) for p in parts]).astype(np.float32) for n in names))


def grid_places() -> tuple[Places, tuple[int, int], tuple[int, int]]:
    """Return the mesh's places, how many rows and columns it has, and which rows are above the two slits."""
    pieces = (
        (0.0, 5.0, 13), (5.0, 6.6, 10), (6.6, EYE_ROW, 9), (EYE_ROW, 7.5, 9), (7.5, 9.6, 18),
        (9.6, MOUTH_ROW, 9), (MOUTH_ROW, 11.4, 9), (11.4, ROWS, 15),
    )  # fmt: skip
    rows: list[float] = []
    sides: list[tuple[int, int]] = []
    for low, high, count in pieces:
        start = 0 if low in (0.0, EYE_ROW, MOUTH_ROW) else 1
        rows += np.linspace(low, high, count)[start:].tolist()
        sides += [(-1 if high <= EYE_ROW else 1, -1 if high <= MOUTH_ROW else 1)] * (count - start)
    side = np.concatenate([np.linspace(0.70, 1.25, 14), np.linspace(1.25, np.pi, 11)[1:]])
    angles = np.concatenate([-side[::-1], np.linspace(-0.70, 0.70, 53)[1:-1], side])
    shape = len(rows), len(angles)
    row = np.repeat(np.asarray(rows), shape[1])
    angle = np.tile(angles, shape[0])
    eye, mouth = (np.repeat(np.asarray(sides)[:, i], shape[1]) for i in range(2))
    places = Places.join(Places(angle, row, eye, mouth))
    slits = rows.index(EYE_ROW), rows.index(MOUTH_ROW)
    return places, shape, slits


def _shapes(shape: Shape, places: Places, rest: Array) -> dict[str, Array]:
    """Return how each expression moves the places, each (N, 3), for a strength of 1."""
    u, v = average(places.angle, places.row)
    front = smooth(np.cos(places.angle), 0.05, 0.3)
    a, side = np.abs(u), np.sign(u)
    zero = np.zeros_like(u)

    def moved(x: Array = zero, y: Array = zero, z: Array = zero) -> Array:
        return np.stack([x * side * front, y * front, z * front], axis=-1).astype(np.float32)

    across = (a - EYE_U) / EYE_HALF
    arch = np.clip(1 - across**2, 0, 1)
    above = (places.eye_side < 0) * np.clip(1 + v / 0.068, 0, 1)
    beneath = (places.eye_side > 0) * np.clip(1 - v / 0.100, 0, 1)
    size = np.float32(shape.eye_size)
    upper = above * arch**0.58 * (1 - 0.10 * across) * size
    lower = beneath * arch**0.85 * size
    ramp = smooth(v, 0.27, 0.66)
    profile = np.sqrt(np.clip(1 - (a / MOUTH_HALF) ** 2, 0, 1))
    apart = (v - MOUTH_V) / np.where(places.mouth_side > 0, 0.20, 0.10)
    near = profile * np.exp(-(apart**2))
    jaw = ramp + np.where(
        places.mouth_side > 0, (1 - ramp) * near, -(ramp + 0.10) * near * (places.mouth_side < 0)
    )
    hang = np.clip(rest[:, 2] - _JOINT_Z, 0, 1)
    back = np.clip(rest[:, 1] - _JOINT_Y, 0, 1) * np.clip(hang / 0.2, 0, 1)
    corner = bump(a, v, MOUTH_HALF, MOUTH_V, 0.11, 0.10)
    cheek = bump(a, v, 0.28, 0.19, 0.11, 0.10)
    lips = bump(a, v, 0, MOUTH_V, 0.17, 0.10)
    pursed = bump(a, v, 0, MOUTH_V, 0.26, 0.12)
    thick = np.clip((v - MOUTH_V) / 0.06, -1, 1)
    brow = bump(a, v, 0.21, -0.15, 0.20, 0.075)
    inner = bump(a, v, 0.09, -0.13, 0.10, 0.06)
    return {
        "jaw": moved(-0.045 * corner, jaw * hang, -0.5 * jaw * back),
        "smile": moved(
            0.050 * corner,
            -0.036 * corner - 0.016 * cheek + lips * np.where(thick < 0, -0.012, 0.008),
            0.010 * cheek - 0.030 * corner,
        ),
        "purse": moved(np.float32(-0.42) * a * pursed, 0.016 * thick * lips, 0.045 * lips),
        "open": moved(y=-0.055 * upper + 0.008 * lower),
        "look_down": moved(y=0.016 * upper + 0.010 * lower),
        "squint": moved(y=-0.014 * lower - 0.008 * cheek),
        "raise": moved(y=-0.042 * brow),
        "frown": moved(x=-0.016 * inner, y=0.022 * inner + 0.012 * brow),
    }  # fmt: skip


def strengths(pose: Pose, lids: float) -> dict[str, float]:
    """Return how strong each blend shape is in a pose of a person whose lids open so far at rest."""
    shut = min(max(pose.blink, 0.0), 1.0)
    smile, down = max(pose.smile, 0.0), pose.gaze[1]
    awake = lids * (1 + 0.10 * max(pose.brows, 0.0) - 0.10 * smile)
    return {
        "jaw": _JAW * pose.mouth,
        "smile": smile,
        "purse": max(-pose.smile, 0.0),
        "open": awake * (1 - shut),
        "look_down": down * (1 - shut),
        "squint": 0.7 * smile + 0.35 * shut,
        "raise": max(pose.brows, 0.0),
        "frown": max(-pose.brows, 0.0),
    }


class Face:
    """The moving mesh of one person, with landmarks."""

    def __init__(self, shape: Shape, points: Places) -> None:
        grid, self.grid, self.slits = grid_places()
        eyes = _eye_centres()
        self.places = Places.join(grid, points, eyes)
        self._count = self.grid[0] * self.grid[1], len(points.angle)
        self.shape = shape
        self.rest = surface(shape, self.places.angle, self.places.row)
        # The shut lids meet below the middle.
        u, _ = average(self.places.angle, self.places.row)
        self.rest[:, 1] += _sag(u, self.places, shape)
        inner, row = place_of(
            np.array([EYE_HALF - EYE_U, EYE_U - EYE_HALF, 0], np.float32),
            np.array([0, 0, MOUTH_V], np.float32),
        )
        corner = surface(shape, inner, row)
        self.inner_corners, self.mouth_line = corner[:2, 0], float(corner[2, 1])
        self._shapes = _shapes(shape, self.places, self.rest)
        self.faces = grid_faces(*self.grid)

    def pose(self, pose: Pose) -> tuple[Array, Array, Array]:
        """Return the mesh (V, 3), the landmarks (N, 3) and the irises' centres (2, 3), right eye first.

        All in the face's coordinates, before the head turns.
        """
        place = self.rest.copy()
        for name, strength in strengths(pose, self.shape.lids).items():
            if strength:
                place += np.float32(strength) * self._shapes[name]
        mesh, points, eyes = np.split(place, np.cumsum(self._count))
        return mesh, points, self._irises(mesh, eyes, pose)

    def _irises(self, mesh: Array, eyes: Array, pose: Pose) -> Array:
        size = self.shape.eye_size
        centre = eyes.copy()
        centre[:, 0] += _LOOK[0] * size * np.float32(pose.gaze[0])
        centre[:, 1] += (_LOOK[1] * np.float32(pose.gaze[1]) - 0.006) * size
        centre[:, 2] = self.depth_between_lids(mesh, centre[:, 0])
        return centre

    def depth_between_lids(self, mesh: Array, x: Array) -> Array:
        """Return z of the eyeballs' strip at `x`."""
        columns = self.grid[1]
        margin = mesh[self.slits[0] * columns : (self.slits[0] + 1) * columns]
        front = np.cos(self.places.angle[:columns]) > 0.3
        return np.asarray(np.interp(x, margin[front, 0], margin[front, 2]), np.float32)

    def eye_centres(self) -> Array:
        """Return where the resting eyes are (2, 3), right eye first."""
        return self.rest[-2:]


def _sag(u: Array, places: Places, shape: Shape) -> Array:
    across = (np.abs(u) - EYE_U) / EYE_HALF
    arch = np.clip(1 - across**2, 0, 1) ** 0.7
    _, v = average(places.angle, places.row)
    near = np.clip(1 - np.abs(v) / 0.09, 0, 1) * (np.cos(places.angle) > 0) * (places.eye_side != 0)
    return np.asarray(0.017 * shape.eye_size * arch * near, np.float32)


def _eye_centres() -> Places:
    angle, row = place_of(np.array([-EYE_U, EYE_U], np.float32), np.zeros(2, np.float32))
    neither = np.zeros(2, np.float32)
    return Places(angle, row, neither, neither)
