"""Parts visible between the lids and between the lips: eyeballs, teeth, tongue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.portrait.arrays import Array, bump, linear, mix, smooth
from shared.portrait.face import IRIS, LIPS_HANG, Face, strengths
from shared.portrait.head import EYE_HALF
from shared.portrait.looks import Looks
from shared.portrait.mesh import Indices, rotation
from shared.portrait.person import Skin, Teeth
from shared.portrait.pose import Pose
from shared.portrait.raster import Fragments


@dataclass(frozen=True)
class Slit:
    """A slit's edges: x of the columns (C,), and y of the upper and of the lower edge there."""

    x: Array
    upper: Array
    lower: Array

    def distances(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Return how far below the upper edge and above the lower edge places are."""
        return (
            (y - np.interp(x, self.x, self.upper)).astype(np.float32),
            (np.interp(x, self.x, self.lower) - y).astype(np.float32),
        )


@dataclass(frozen=True)
class Eye:
    """An eye: position of the iris (3,), its radius, and x of the eye's inner corner."""

    centre: Array
    radius: float
    corner: float


@dataclass(frozen=True)
class Jaw:
    """y of the resting lips, how far the jaw has dropped, how places shift a unit further in (2,)."""

    line: float
    drop: float
    view: Array


def paint_eye(x: Array, y: Array, slit: Slit, eye: Eye, skin: Skin) -> tuple[Array, Array, Array]:
    """Return colour (3, N), normal (3, N) and openness (N,) of an eyeball at places x, y (N,)."""
    centre, radius, corner = eye.centre, eye.radius, eye.corner
    below, above = slit.distances(x, y)
    middle = corner + np.sign(centre[0]) * EYE_HALF
    across, down = (x - middle) / EYE_HALF, y / EYE_HALF
    r = np.hypot(x - centre[0], y - centre[1]) / radius
    bright = np.full((len(x), 1), 1 - 0.35 * skin.tone, np.float32)
    white = bright * np.array([0.60, 0.57, 0.55], np.float32)
    white = mix(white, (0.58, 0.30, 0.26), 0.50 * np.clip(across**2, 0, 1) ** 2)
    tear = bump(x, y, corner + np.sign(centre[0]) * 0.010, centre[1] + 0.008, 0.013, 0.020)
    white = mix(white, (0.55, 0.24, 0.22), np.clip(1.2 * tear, 0, 0.9))
    iris = linear(skin.iris) * (0.75 + 0.75 * smooth(r, 0.25, 0.75) - 0.75 * smooth(r, 0.78, 1.0))[:, None]
    iris = iris * (1 + 0.45 * np.clip((y - centre[1]) / radius, -0.6, 1))[:, None]
    colour = mix(white, iris, smooth(r, 1.07, 0.92))
    colour = mix(colour, (0.004, 0.004, 0.004), smooth(r, 0.46, 0.34))
    shade = 0.30 + 0.70 * smooth(below, 0.0, 0.030)
    open_ = shade * (0.80 + 0.20 * smooth(above, 0.0, 0.012))
    lash = smooth(below, 0.0085, 0.002) * (0.6 + 0.4 * skin.lashes)
    colour = mix(colour, (0.012, 0.009, 0.008), lash)
    wet = smooth(above, 0.008, 0.001)
    colour = mix(colour, (0.48, 0.26, 0.23), 0.7 * wet)
    normal = np.stack([0.75 * across, 0.75 * down, np.ones_like(x)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    return colour.T, normal.T.astype(np.float32), open_.astype(np.float32)


def highlight(x: Array, y: Array, eye: Eye, key: tuple[float, float, float]) -> Array:
    """Return how bright the lamp's reflection in an eye is at places (N,)."""
    centre, radius = eye.centre, eye.radius
    at_x, at_y = centre[0] + 0.42 * radius * key[0], centre[1] + 0.42 * radius * key[1] - 0.1 * radius
    return smooth(np.hypot(x - at_x, (y - at_y) * 0.9) / radius, 0.30, 0.14)


def paint_mouth(x: Array, y: Array, slit: Slit, jaw: Jaw, teeth: Teeth) -> tuple[Array, Array]:
    """Return albedo (N, 3) and openness (N,) of what is between the lips at places x, y (N,)."""
    line, drop, view = jaw.line, jaw.drop, jaw.view
    below, above = slit.distances(x, y)
    tx, ty = x + 0.05 * view[0], y + 0.05 * view[1]
    side = np.clip(1 - (tx / 0.150) ** 2, 0, 1)
    dark = np.array([0.045, 0.010, 0.009], np.float32) * np.ones((len(x), 1), np.float32)
    deep = y + 0.16 * view[1]
    tongue_y = line + drop - 0.050 - 0.012 * np.cos(x * 22)
    tongue = smooth(deep - tongue_y, 0.0, 0.035) * smooth(np.abs(x + 0.12 * view[0]), 0.125, 0.085)
    groove = 1 - 0.25 * np.exp(-((x / 0.012) ** 2))
    colour = mix(dark, np.array([0.36, 0.115, 0.105], np.float32) * groove[:, None], tongue)
    gaps = 1 - 0.16 * np.exp(-((((np.abs(tx) + 1e-4) % 0.052) / 0.0035) ** 2)) * side
    enamel = np.asarray(teeth.colour, np.float32) * (0.25 + 0.50 * side**0.8)[:, None] * gaps[:, None]
    edge = line + teeth.length - 0.018 * (1 - side) + 0.003 * np.cos(tx * 2 * np.pi / 0.052)
    upper = smooth(edge - ty, -0.004, 0.004) * smooth(np.abs(tx), 0.150, 0.140)
    low = line + drop - teeth.lower + 0.020 * (1 - side)
    lower = smooth(ty - low, -0.004, 0.004) * smooth(np.abs(tx), 0.125, 0.115)
    colour = mix(colour, 0.80 * enamel, lower)
    colour = mix(colour, enamel, upper)
    open_ = (0.25 + 0.75 * smooth(below, 0.0, 0.030)) * (0.6 + 0.4 * smooth(above, 0.0, 0.02))
    open_ = open_ * (0.40 + 0.35 * np.maximum(upper, 0.8 * lower))
    return colour, open_.astype(np.float32)


class Slits:
    """Puts eyeballs and the mouth's inside in place of skin; `faces` (F, 3) are the head's triangles."""

    def __init__(self, looks: Looks, face: Face, faces: Indices) -> None:
        self._looks, self._face, self._faces = looks, face, faces
        columns = face.grid[1]
        rows = faces // columns
        # 1 for triangles between the lids, 2 for those between the lips.
        self._kind = np.zeros(len(faces), np.uint8)
        for number, slit in enumerate(face.slits, 1):
            self._kind[(rows.min(1) == slit) & (rows.max(1) == slit + 1)] = number
        self._front = np.flatnonzero(np.cos(face.places.angle[:columns]) > 0.3)

    def _edges(self, mesh: Array, row: int) -> Slit:
        rows = mesh.reshape(*self._face.grid, 3)[row : row + 2, self._front]
        return Slit(rows[0, :, 0], rows[0, :, 1], rows[1, :, 1])

    def fill(  # noqa: PLR0917
        self, head: Fragments, made: Array, skin: Array, mesh: Array, irises: Array, pose: Pose
    ) -> Array:
        """Change `made` (9, N) and `skin` (N,) at the fragments of the head, the first H; return gleams."""
        shine = np.zeros(len(head.face), np.float32)
        kind = self._kind[head.face]
        eyes, mouth = (np.flatnonzero(kind == number) for number in (1, 2))
        if len(eyes):
            x, y, _ = head.part(eyes).blend(mesh, self._faces)
            made[:, eyes], shine[eyes] = self._eyes(x, y, mesh, irises)
            skin[eyes] = 0.3
        if len(mouth):
            x, y, _ = head.part(mouth).blend(mesh, self._faces)
            made[:, mouth] = self._mouth(x, y, mesh, pose)
            skin[mouth] = 0.5
        return shine

    def _eyes(self, x: Array, y: Array, mesh: Array, irises: Array) -> tuple[Array, Array]:
        """Return what eyeballs are made of at places x, y (N,): (9, N), and the lamp's reflections (N,)."""
        lids = self._edges(mesh, self._face.slits[0])
        radius = IRIS * self._looks.shape.eye_size
        made, shine = np.ones((9, len(x)), np.float32), np.zeros_like(x)
        for i, side in enumerate((-1, 1)):
            mine = np.sign(x) == side
            where = x[mine], y[mine]
            eye = Eye(irises[i], radius, float(self._face.inner_corners[i]))
            made[:3, mine], made[3:6, mine], made[6, mine] = paint_eye(*where, lids, eye, self._looks.skin)
            made[7, mine] = 0
            lamp = highlight(*where, eye, self._looks.light.key)
            shine[mine] = 0.8 * lamp * (made[6, mine] > 0.45)
        return made, shine

    def _mouth(self, x: Array, y: Array, mesh: Array, pose: Pose) -> Array:
        """Return what the mouth's inside is made of at places x, y (N,): (9, N)."""
        away = -rotation(pose)[2]
        drop = strengths(pose, 1.0)["jaw"] * LIPS_HANG
        line, lips = self._face.mouth_line, self._edges(mesh, self._face.slits[1])
        colour, open_ = paint_mouth(x, y, lips, Jaw(line, drop, -away[:2] / away[2]), self._looks.teeth)
        made = np.ones((9, len(x)), np.float32)
        made[:3], made[3:6], made[6], made[7] = colour.T, np.array([[0], [0], [1]]), open_, 0.25
        return made
