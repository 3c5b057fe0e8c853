"""Lighting of each place of a body: a key light, a fill, light from all around, a sheen."""

from __future__ import annotations

import numpy as np

from shared.portrait.arrays import Array
from shared.portrait.looks import Light

# Light enters skin and comes out beside where it went in, red the furthest: shadows begin later there.
_WRAP = (0.42, 0.20, 0.14)
_STORED = (np.linspace(0, 1, 4096) ** (1 / 2.2)).astype(np.float32)


def shade(made: Array, skin: Array, light: Light) -> Array:
    """Return the light (3, N) that comes from places.

    `made` (9, N) is what they are made of: albedo, normal as the camera sees it, how open they are to light
    from around, gloss, how open to the key light. `skin` (N,) is 1 for skin, 0 for all else.
    """
    normal, open_, gloss = made[3:6], made[6], made[7]
    key = np.asarray(light.key, np.float32)
    key = key / np.linalg.norm(key)
    towards = key @ normal
    opening = (np.float32(0.35) + np.float32(0.65) * open_) * made[8] * np.float32(light.strength)
    other = np.array([-key[0], key[1] * 0.3, 0.7], np.float32)
    filled = (
        np.clip(((other / np.linalg.norm(other)) @ normal + np.float32(0.3)) / np.float32(1.3), 0, 1) * open_
    )
    filled *= np.float32(light.fill_strength)
    up = (np.float32(0.5) - np.float32(0.5) * normal[1]) * open_
    gleam = _gleam(normal, key) * opening * gloss + _edge(normal[2], light) * open_
    bright = np.empty((3, made.shape[1]), np.float32)
    for i in range(3):
        wrap = np.float32(0.06) + skin * np.float32(_WRAP[i] - 0.06)
        lit = np.clip((towards + wrap) / (1 + wrap), 0, 1) * opening
        total = lit * np.float32(light.colour[i]) + filled * np.float32(light.fill[i])
        total += open_ * np.float32(light.around * light.floor[i])
        total += up * np.float32(light.around * (light.sky[i] - light.floor[i]))
        bright[i] = made[i] * total + gleam * np.float32(light.colour[i])
    return bright


def _gleam(normal: Array, key: Array) -> Array:
    """Return the sheen: the lamp's reflection, wide and narrow (powers 16 and 48)."""
    half = key + np.array([0, 0, 1], np.float32)
    shine = np.clip((half / np.linalg.norm(half)) @ normal, 0, 1)
    wide = np.square(np.square(np.square(np.square(shine))))
    return np.asarray(wide * (np.float32(0.10) + np.float32(0.12) * np.square(wide)), np.float32)


def _edge(facing: Array, light: Light) -> Array:
    """Return the light from behind that grazes the outline."""
    away = np.clip(1 - facing, 0, 1)
    return np.asarray(away * away * away * np.float32(0.25 * light.rim), np.float32)


def developed(bright: Array, exposure: float) -> Array:
    """Turn linear light into what a camera stores, 0 to 1: a soft shoulder, then gamma."""
    x = np.maximum(bright * np.float32(exposure), 0)
    over = x > np.float32(0.7)
    x[over] = 0.7 + 0.3 * (1 - np.exp(-(x[over] - 0.7) / 0.3))
    return np.asarray(np.take(_STORED, (x * 4095 + 0.5).astype(np.int64)), np.float32)
