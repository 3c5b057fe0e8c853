"""The room behind a portrait."""

from __future__ import annotations

import numpy as np

from shared.portrait.arrays import Array, Real, blur_colours, mix, noise, smooth
from shared.portrait.looks import Scene


def paint(scene: Scene, size: int) -> Array:
    """Return the background (size, size, 3) as a camera stores it, 0 to 1."""
    rng = np.random.default_rng(scene.seed)
    line = (np.arange(size, dtype=np.float32) * 2 + 1) / size - 1
    x, y = np.meshgrid(line, line)
    colour = _wall(x, y, scene)
    if scene.kind == "shelves":
        colour = _shelves(colour, x, y, scene, rng)
    elif scene.kind == "window":
        colour = _window(colour, x, y, scene, rng)
    elif scene.kind == "frames":
        colour = _frames(colour, x, y, scene, rng)
    elif scene.kind == "lights":
        colour = _lights(colour, x, y, rng)
    elif scene.kind == "panels":
        colour = _panels(colour, x, rng)
    if scene.blur:
        colour = blur_colours(colour, scene.blur * size / 256)
    colour = colour * (1 + scene.texture * noise(rng, (size, size), (1.5, 1.5)))[..., None]
    vignette = 1 - 0.20 * np.clip(np.hypot(x, y) - 0.6, 0, 1) ** 1.5
    return np.asarray(np.clip(colour * vignette[..., None], 0, 1), np.float32)


def _wall(x: Real, y: Real, scene: Scene) -> Array:
    base = np.ones((*x.shape, 1), np.float32) * np.asarray(scene.colour, np.float32)
    across = np.cos(scene.angle) * x + np.sin(scene.angle) * y
    glow = np.exp(-(((x - scene.glow[0]) / 0.8) ** 2 + ((y - scene.glow[1]) / 0.8) ** 2))
    base = mix(base, scene.second, 0.5 + 0.5 * np.clip(across, -1, 1))
    return mix(base, np.minimum(np.asarray(scene.second, np.float32) * 1.3 + 0.05, 1), 0.5 * glow)


def _box(  # noqa: PLR0917
    colour: Array, x: Real, y: Real, left: float, top: float, right: float, bottom: float, tint: Array
) -> Array:
    inside = (x >= left) & (x < right) & (y >= top) & (y < bottom)
    colour[inside] = tint
    return colour


def _shelves(colour: Array, x: Real, y: Real, scene: Scene, rng: np.random.Generator) -> Array:
    wood = np.asarray(scene.second, np.float32) * 0.6
    step = rng.uniform(0.42, 0.62)
    start = rng.uniform(-1.3, -1.0)
    for top in np.arange(start, 1.0, step):
        at = -1.0 - rng.uniform(0, 0.1)
        colour = _box(colour, x, y, -1, top, 1, top + step, np.asarray(scene.colour, np.float32) * 0.45)
        while at < 1:
            wide, high = rng.uniform(0.025, 0.085), rng.uniform(0.55, 0.92) * step
            if rng.random() < 0.14:
                at += rng.uniform(0.05, 0.3)
                continue
            tint = np.asarray(rng.uniform(0.1, 0.8) * (1 + 0.45 * rng.uniform(-1, 1, 3)), np.float32)
            colour = _box(colour, x, y, at, top + step - high, at + wide, top + step, tint)
            colour = _box(colour, x, y, at, top + step - high, at + 0.25 * wide, top + step, tint * 0.8)
            at += wide + 0.004
        colour = _box(colour, x, y, -1, top + step - 0.035, 1, top + step, wood)
    return colour


def _window(colour: Array, x: Real, y: Real, scene: Scene, rng: np.random.Generator) -> Array:
    left, top = rng.uniform(-1.2, 0.3), rng.uniform(-1.1, -0.7)
    wide, high = rng.uniform(0.6, 1.1), rng.uniform(0.8, 1.4)
    sky = np.asarray(rng.choice([0.95, 0.80, 0.55]) * np.array([0.88, 0.95, 1.0]), np.float32)
    frame = np.asarray(np.clip(np.asarray(scene.second) * 1.2 + 0.1, 0, 1), np.float32)
    colour = _box(colour, x, y, left - 0.05, top - 0.05, left + wide + 0.05, top + high + 0.05, frame)
    colour = _box(colour, x, y, left, top, left + wide, top + high, sky)
    hills = top + high * (0.72 + 0.06 * np.sin(x * rng.uniform(2, 5)) + 0.04 * np.sin(x * rng.uniform(7, 13)))
    outside = (x > left) & (x < left + wide) & (y > hills) & (y < top + high)
    colour[outside] = sky * np.array([0.35, 0.5, 0.35], np.float32)
    for share in rng.choice([0.5, 0.33]) * np.arange(1, 3):
        if share < 0.9:
            at = left + share * wide
            colour = _box(colour, x, y, at - 0.018, top, at + 0.018, top + high, frame)
    return _box(colour, x, y, left, top + 0.45 * high, left + wide, top + 0.45 * high + 0.03, frame)


def _frames(colour: Array, x: Real, y: Real, scene: Scene, rng: np.random.Generator) -> Array:
    for _ in range(int(rng.integers(1, 4))):
        left, top = rng.uniform(-1.0, 0.7), rng.uniform(-1.0, 0.0)
        wide, high = rng.uniform(0.25, 0.6), rng.uniform(0.25, 0.6)
        edge, tint = (
            np.float32(rng.uniform(0.05, 0.9)),
            np.asarray(rng.uniform(0.1, 0.8) * (1 + 0.35 * rng.uniform(-1, 1, 3)), np.float32),
        )
        colour = _box(colour, x, y, left, top, left + wide, top + high, np.full(3, edge, np.float32))
        colour = _box(colour, x, y, left + 0.03, top + 0.03, left + wide - 0.03, top + high - 0.03, tint)
    return _box(colour, x, y, -1, rng.uniform(0.3, 0.8), 1, 1, np.asarray(scene.second, np.float32) * 0.6)


def _panels(colour: Array, x: Real, rng: np.random.Generator) -> Array:
    pace = rng.uniform(6, 24)
    seam = np.abs(np.sin(x * pace + rng.uniform(0, 3)))
    return colour * (1 - 0.45 * smooth(seam, 0.14, 0.05))[..., None]


def _lights(colour: Array, x: Real, y: Real, rng: np.random.Generator) -> Array:
    for _ in range(int(rng.integers(5, 12))):
        at, radius = rng.uniform(-1, 1, 2) * (1, 0.9), rng.uniform(0.07, 0.18)
        tint = np.array([1.0, 0.78, 0.5]) * (1 - 0.4 * rng.random()) + rng.uniform(0, 0.3, 3)
        disc = smooth(np.hypot(x - at[0], y - at[1]), radius + 0.02, radius - 0.02)
        colour = mix(colour, np.asarray(np.clip(tint, 0, 1), np.float32), rng.uniform(0.12, 0.32) * disc)
    return colour
