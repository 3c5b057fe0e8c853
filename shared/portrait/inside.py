"""What is seen between the lids and between the lips: eyeballs, teeth, tongue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.portrait.arrays import Array, bump, linear, mix, smooth
from shared.portrait.looks import Skin, Teeth


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


def paint_eye(  # noqa: PLR0917
    x: Array, y: Array, slit: Slit, centre: Array, radius: float, corner: float, skin: Skin
) -> tuple[Array, Array, Array, Array]:
    """Return albedo (N, 3), normal (N, 3), openness (N,) and gloss (N,) of an eyeball at places x, y (N,).

    `centre` (3,) is the iris's, `corner` the x of the inner corner.
    """
    below, above = slit.distances(x, y)
    half = 0.0905
    middle = corner + np.sign(centre[0]) * half
    across, down = (x - middle) / half, (y - 0.0) / half
    r = np.hypot(x - centre[0], y - centre[1]) / radius
    white = np.array([0.74, 0.72, 0.70], np.float32) * np.ones((len(x), 1), np.float32)
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
    return colour, normal.astype(np.float32), open_.astype(np.float32), np.zeros_like(x)


def highlight(x: Array, y: Array, centre: Array, radius: float, key: tuple[float, float, float]) -> Array:
    """Return how bright the lamp's reflection in an eye is at places (N,)."""
    at_x, at_y = centre[0] + 0.42 * radius * key[0], centre[1] + 0.42 * radius * key[1] - 0.1 * radius
    return smooth(np.hypot(x - at_x, (y - at_y) * 0.9) / radius, 0.30, 0.14)


def paint_mouth(  # noqa: PLR0917
    x: Array, y: Array, slit: Slit, line: float, drop: float, view: Array, teeth: Teeth
) -> tuple[Array, Array]:
    """Return albedo (N, 3) and openness (N,) of what is between the lips at places x, y (N,).

    `line` is y of the resting mouth, `drop` how far the lower teeth have come down, `view` (2,) how places
    shift a unit further in.
    """
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
