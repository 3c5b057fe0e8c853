"""How much light comes from each place of a body: a key light, a fill, light from all around, a sheen."""

from __future__ import annotations

import numpy as np

from shared.portrait.arrays import Array
from shared.portrait.looks import Light

# Light enters skin and comes out beside where it went in, red the furthest: shadows begin later there.
_WRAP = np.array([0.42, 0.20, 0.14], np.float32)


def shade(  # noqa: PLR0917 - what a place is made of
    albedo: Array, normal: Array, open_: Array, gloss: Array, skin: Array, light: Light
) -> Array:
    """Return the light (N, 3) that comes from places.

    `albedo` and `normal` (N, 3), the normals as the camera sees them; `open_`, `gloss` and `skin` (N,), the
    last 1 for skin, 0 for all else.
    """
    key = np.asarray(light.key, np.float32)
    key = key / np.linalg.norm(key)
    towards = normal @ key
    wrap = 0.06 + skin[:, None] * (_WRAP - 0.06)
    lit = np.clip((towards[:, None] + wrap) / (1 + wrap), 0, 1)
    opening = (0.35 + 0.65 * open_)[:, None]
    total = lit * opening * (light.strength * np.asarray(light.colour, np.float32))
    other = np.array([-key[0], key[1] * 0.3, 0.7], np.float32)
    filled = np.clip((normal @ (other / np.linalg.norm(other)) + 0.3) / 1.3, 0, 1) * open_
    total += filled[:, None] * (light.fill_strength * np.asarray(light.fill, np.float32))
    up = (0.5 - 0.5 * normal[:, 1:2]) * open_[:, None]
    sky, floor = np.asarray(light.sky, np.float32), np.asarray(light.floor, np.float32)
    total += light.around * (floor * open_[:, None] + (sky - floor) * up)
    half = key + np.array([0, 0, 1], np.float32)
    half /= np.linalg.norm(half)
    shine = np.clip(normal @ half, 0, 1)
    # Powers 16 and 48: a wide and a narrow gloss.
    wide = np.square(np.square(np.square(np.square(shine))))
    sheen = wide * (0.10 + 0.12 * np.square(wide)) * gloss * opening[:, 0]
    away = np.clip(1 - normal[:, 2], 0, 1)
    edge = away * away * away * open_ * np.float32(0.25 * light.rim)
    bright: Array = albedo * total + (sheen[:, None] * light.strength + edge[:, None]) * np.asarray(
        light.colour, np.float32
    )
    return bright


_STORED = (np.linspace(0, 1, 4096) ** (1 / 2.2)).astype(np.float32)


def developed(bright: Array, exposure: float) -> Array:
    """Turn linear light (..., 3) into what a camera stores, 0 to 1: a soft shoulder, then gamma."""
    x = np.maximum(bright * np.float32(exposure), 0)
    over = x > np.float32(0.7)
    x[over] = 0.7 + 0.3 * (1 - np.exp(-(x[over] - 0.7) / 0.3))
    return np.take(_STORED, (x * 4095 + 0.5).astype(np.int64))
