"""The still layers of the drawn portrait: head with hair, torso, background; painted once.

Positions are x to the right and y down, both in [-1, 1] of the picture; heights are in that unit. Colours are
RGB in [0, 1].
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.floating[Any]]
Colour = tuple[float, float, float]
EYES = ((-0.158, -0.150), (0.158, -0.150))
EYE_WIDTH, EYE_HEIGHT = 0.088, 0.041
MOUTH_Y, MOUTH_WIDTH = 0.205, 0.118
_SKIN_LIGHT, _SKIN_MID, _SKIN_DARK = (1.00, 0.845, 0.745), (0.83, 0.590, 0.480), (0.36, 0.185, 0.145)
_HAIR_LIGHT, _HAIR_DARK = (0.56, 0.36, 0.21), (0.115, 0.062, 0.040)
_KEY_LIGHT, _FILL_LIGHT = (-0.50, -0.52, 0.69), (0.75, -0.05, 0.66)
# Height, x, y, width, height of soft bumps on both sides of a face: nose, brow, sockets, cheeks, mouth, chin.
_BUMPS = (
    (0.08, 0.0, -0.04, 0.046, 0.13), (0.075, 0.0, 0.045, 0.046, 0.042),
    (0.03, 0.055, 0.06, 0.026, 0.026), (0.025, 0.15, -0.245, 0.12, 0.045),
    (-0.055, 0.15, -0.155, 0.085, 0.055), (0.022, 0.158, -0.148, 0.06, 0.034),
    (0.03, 0.205, 0.035, 0.09, 0.08), (-0.014, 0.165, 0.16, 0.03, 0.09),
    (0.03, 0.0, 0.205, 0.13, 0.075), (0.016, 0.0, 0.172, 0.085, 0.018),
    (0.022, 0.0, 0.238, 0.075, 0.02), (-0.02, 0.0, 0.29, 0.075, 0.022),
    (0.032, 0.0, 0.375, 0.075, 0.05), (-0.01, 0.0, 0.125, 0.014, 0.032),
    (0.01, 0.08, -0.4, 0.16, 0.1), (-0.022, 0.33, -0.13, 0.06, 0.14),
)  # fmt: skip


def grid(size: int) -> tuple[Plane, Plane]:
    """Return x and y of the pixel centres of a square picture: two (size, size)."""
    line = (np.arange(size, dtype=np.float32) * 2 + 1) / size - 1
    x, y = np.meshgrid(line, line)
    return x, y


def bump(  # noqa: PLR0917 - a place and a size
    x: Plane, y: Plane, at_x: float, at_y: float, wide: float, high: float
) -> Plane:
    """Return a soft hill of height 1 at a place; `wide` and `high` are where it has fallen to 1/e."""
    hill: Plane = np.exp(-(((x - at_x) / wide) ** 2) - ((y - at_y) / high) ** 2)
    return hill


def mix(below: Plane, above: Plane | Colour, cover: Plane) -> Plane:
    """Lay a colour over `below` (H, W, 3), by `cover` (H, W) in [0, 1]."""
    mixed: Plane = below + (np.asarray(above, np.float32) - below) * cover[..., None]
    return mixed


def mouth_line(x: Plane) -> Plane:
    """Return where the closed lips meet at each column: a faint smile."""
    line: Plane = MOUTH_Y + 0.016 * np.clip(1 - (x / MOUTH_WIDTH) ** 2, -0.5, 1) - 0.008
    return line


def blur(field: Plane, sigma: float) -> Plane:
    """Return `field` (H, W) under a Gaussian of `sigma` pixels; the border repeats."""
    reach = int(3 * sigma) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    for _ in range(2):
        padded = np.pad(field, ((0, 0), (reach, reach)), mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, len(kernel), axis=1)
        field = (windows @ kernel).T
    return np.ascontiguousarray(field, np.float32)


def _head_height(x: Plane, y: Plane) -> Plane:
    """Return how far the bare head stands out at each place; negative outside of it."""
    skull = _ellipsoid(x, y, (0.0, -0.20), (0.405, 0.47), 0.43)
    jaw = _ellipsoid(x, y, (0.0, 0.06), (0.325, 0.40), 0.42)
    height = 0.06 * np.log(np.exp(skull / 0.06) + np.exp(jaw / 0.06))
    a = np.abs(x)
    for size, at_x, at_y, wide, high in _BUMPS:
        height = height + size * bump(a, y, at_x, at_y, wide, high)
    return np.asarray(height, np.float32)


def paint_head(x: Plane, y: Plane) -> tuple[Plane, Plane]:
    """Return the head with its hair, premultiplied RGBA, and the heights that turning it goes by."""
    height, edge = _head_height(x, y), _head_edge(x, y)
    skin = _paint_skin(x, y, height)
    back, front = _hair_edges(x, y)
    hair = _paint_hair(x, y)
    pixel = 2 / x.shape[0]
    fall = np.clip((blur(front, 4) + 0.045) / 0.09, 0, 1)
    skin = skin * (1 - 0.42 * fall)[..., None]
    face = np.clip(edge / pixel + 0.5, 0, 1)
    under = np.clip((y + 0.25) / 0.5, 0, 1) * np.clip(1 - np.abs(x) / 0.55, 0, 1)
    shadowed = hair * (0.85 - 0.55 * under)[..., None]
    colour = mix(shadowed, skin, face)
    colour = mix(colour, hair, np.clip(front / (3 * pixel) + 0.5, 0, 1))
    alpha = np.maximum(face, np.clip(back / (2.5 * pixel) + 0.5, 0, 1))
    depth = np.where(edge > 0, np.maximum(0.85 * height, 0.10), 0.10)
    rgba = np.concatenate([colour * alpha[..., None], alpha[..., None]], axis=-1)
    return np.asarray(rgba, np.float32), np.asarray(depth, np.float32)


def _paint_skin(x: Plane, y: Plane, height: Plane) -> Plane:
    """Return lit skin with lips, brows, lid folds and nostrils (H, W, 3)."""
    tone = _lit(height)
    colour = _ramp(tone, _SKIN_DARK, _SKIN_MID, _SKIN_LIGHT)
    a = np.abs(x)
    blush = bump(a, y, 0.215, 0.06, 0.10, 0.08) + 0.5 * bump(x, y, 0, 0.05, 0.06, 0.04)
    colour = colour * (1 - 0.09 * blush[..., None] * np.array([0.1, 0.9, 0.8], np.float32))
    grain = _noise(x.shape[0], 1.2, 3) * 0.014 + _noise(x.shape[0], 6, 4) * 0.012
    colour = colour * (1 + grain[..., None])
    colour = _paint_lips(colour, x, y)
    nostril = bump(a, y, 0.036, 0.082, 0.021, 0.0105)
    colour = mix(colour, (0.22, 0.085, 0.07), 0.66 * nostril)
    under_nose = bump(x, y, 0.014, 0.108, 0.075, 0.026)
    colour = colour * (1 - 0.10 * under_nose[..., None])
    across = (a - EYES[1][0]) / (1.18 * EYE_WIDTH)
    fold = y - (EYES[1][1] - 0.030 - 0.032 * np.clip(1 - across**2, 0, 1) ** 0.7)
    crease = np.exp(-((fold / 0.008) ** 2)) * (np.abs(across) < 1) * np.clip(1 - across**4, 0, 1)
    colour = colour * (1 - 0.30 * crease[..., None])
    bag = bump(a, y, 0.155, -0.088, 0.075, 0.018)
    colour = colour * (1 - 0.08 * bag[..., None])
    return _paint_brows(colour, a, y)


def _paint_lips(colour: Plane, x: Plane, y: Plane) -> Plane:
    across = x / MOUTH_WIDTH
    bow = np.clip(1 - across**2, 0, 1)
    upper = 0.034 * bow**0.75 * (1 - 0.24 * np.exp(-((across / 0.17) ** 2)))
    lower = 0.046 * bow**0.60
    below = y - mouth_line(x) - 0.003 * np.cos(across * 6) * bow
    lips = np.clip(np.minimum(below + upper, lower - below) / 0.010 + 0.45, 0, 1) * (bow > 0)
    red = (
        np.array([0.93, 0.60, 0.60], np.float32)
        * (0.86 + 0.20 * np.clip(below / 0.02 + 0.3, 0, 1))[..., None]
    )
    shine = np.exp(-(((below - 0.020) / 0.009) ** 2 + ((across + 0.12) / 0.38) ** 2))
    painted = colour * red + 0.13 * shine[..., None]
    colour = mix(colour, painted, 0.95 * lips)
    line = np.exp(-((below / 0.0065) ** 2)) * np.clip(1.06 - across**2, 0, 1) ** 0.4 * (np.abs(across) < 1.03)
    return mix(colour, (0.27, 0.09, 0.085), 0.78 * line)


def _paint_brows(colour: Plane, a: Plane, y: Plane) -> Plane:
    along = np.clip((a - 0.062) / 0.205, 0, 1)
    middle = -0.256 - 0.030 * np.sin(along * 2.5) + 0.018 * along**3
    thick = 0.0175 * (1 - 0.70 * along**1.6)
    ends = np.clip((a - 0.050) / 0.045, 0, 1) * np.clip((0.275 - a) / 0.03, 0, 1)
    body = np.exp(-(((y - middle) / thick) ** 2)) * ends
    hairs = 0.92 + 0.08 * np.sin((a * 1.0 + y * 0.75) * 190)
    return mix(colour, (0.20, 0.115, 0.075), np.clip(0.88 * body * hairs, 0, 1))


def _hair_edges(x: Plane, y: Plane) -> tuple[Plane, Plane]:
    """Return two signed distances, positive inside: all of the hair, and the part that lies over the face."""
    wave = 0.012 * np.sin(y * 17 + x * 4) + 0.006 * np.sin(y * 41 - x * 9)
    dome = 0.47 * (1 - np.hypot(x / 0.475, (y + 0.235) / 0.515))
    wide = 0.485 + 0.028 * np.sin((y + 0.2) * 4.2) + wave
    curtain = np.minimum(wide - np.abs(x), np.minimum(y + 0.25, 0.50 + 0.03 * np.cos(x * 9) - y))
    # Below the jaw the neck shows between the two sides.
    throat = 0.165 + 0.05 * np.clip((y - 0.2) * 3, 0, 1) + wave
    curtain = np.minimum(curtain, np.maximum(np.abs(x) - throat, 0.16 - y))
    back = np.maximum(dome + 0.4 * wave, curtain)
    # A parting to one side: the hairline falls away from it in two curves.
    part = x + 0.115
    line = -0.520 + np.where(part < 0, 0.55 * part**2 * 6.5, 0.23 * np.abs(part) ** 1.25 * 2.0)
    forehead = line - y + 0.5 * wave
    inner = 0.335 - 0.035 * np.clip(y + 0.2, 0, 1) + 0.03 * np.clip((y - 0.1) * 2, 0, 1) + 0.5 * wave
    temples = np.minimum(np.abs(x) - inner, y + 0.45)
    front = np.minimum(back, 0.035 * np.logaddexp(forehead / 0.035, temples / 0.035))
    return np.asarray(back, np.float32), np.asarray(front, np.float32)


def _paint_hair(x: Plane, y: Plane) -> Plane:
    """Return lit strands (H, W, 3)."""
    part_x, part_y = x + 0.115, y + 0.70
    angle = np.arctan2(part_x, part_y * 0.9 + 0.04)
    fall = np.clip((y + 0.15) / 0.35, 0, 1)
    across = angle * (1 - fall) * 1.5 + fall * (x + 0.02 * np.sin(y * 11)) * 1.9
    strands = sum(
        weight * np.sin(across * rate + phase + 1.8 * np.sin(y * 3.1 + phase))
        for rate, weight, phase in ((31, 0.30, 0.4), (67, 0.26, 2.0), (121, 0.22, 4.1), (211, 0.16, 1.1))
    )
    radius = np.hypot(part_x * 0.9, part_y)
    band = np.exp(-(((radius - 0.30 - 0.05 * strands) / 0.085) ** 2))
    side = np.exp(-(((np.abs(x) - 0.425) / 0.05) ** 2)) * np.clip((y + 0.2) * 2, 0, 1) * 0.5
    light = 0.34 + 0.17 * strands + 0.50 * band * (0.75 - 0.5 * x) + 0.32 * side * (0.8 - 0.5 * x)
    light = light - 0.20 * np.exp(-((part_x / 0.012) ** 2)) * np.clip(-(y + 0.5) * 8, 0, 1)
    rim = np.clip(1 - np.hypot(x / 0.475, (y + 0.235) / 0.515), 0, 1)
    light = light * (0.55 + 0.45 * np.clip(rim * 6 + fall, 0, 1))
    return mix(np.full((*x.shape, 3), _HAIR_DARK, np.float32), _HAIR_LIGHT, np.clip(light, 0, 1))


def _head_edge(x: Plane, y: Plane) -> Plane:
    """Return the signed distance to the outline of the bare head, about; positive inside."""
    skull = 0.43 * (1 - np.hypot(x / 0.405, (y + 0.20) / 0.47))
    jaw = 0.35 * (1 - np.hypot(x / 0.325, (y - 0.06) / 0.40))
    return np.asarray(0.03 * np.log(np.exp(skull / 0.03) + np.exp(jaw / 0.03)), np.float32)


def paint_background(x: Plane, y: Plane) -> Plane:
    """Return a dim room out of focus (256, 256, 3)."""
    glow = np.exp(-(((x - 0.55) / 0.75) ** 2 + ((y + 0.55) / 0.8) ** 2))
    colour = mix(np.full((*x.shape, 3), (0.145, 0.175, 0.215), np.float32), (0.47, 0.44, 0.40), 0.85 * glow)
    spots = (
        (-0.78, -0.62, 0.15, (0.90, 0.66, 0.38), 0.30), (-0.55, -0.86, 0.11, (0.95, 0.75, 0.48), 0.26),
        (0.83, -0.15, 0.17, (0.62, 0.70, 0.80), 0.16), (0.66, -0.78, 0.13, (1.0, 0.85, 0.62), 0.28),
        (-0.90, 0.02, 0.12, (0.55, 0.68, 0.78), 0.15), (0.93, -0.55, 0.09, (1.0, 0.80, 0.55), 0.22),
    )  # fmt: skip
    for at_x, at_y, radius, tint, strength in spots:
        disc = np.clip((radius - np.hypot(x - at_x, y - at_y)) / 0.05 + 0.5, 0, 1)
        colour = mix(colour, tint, strength * disc)
    vignette = 1 - 0.22 * np.clip(np.hypot(x, y) - 0.6, 0, 1) ** 1.5
    return np.asarray(colour * vignette[..., None], np.float32)


def paint_torso(x: Plane, y: Plane) -> Plane:
    """Return neck, shoulders and clothes, premultiplied RGBA (H, W, 4)."""
    pixel = 2 / x.shape[0]
    a = np.abs(x)
    neck_wide = 0.185 + 0.10 * np.clip((y - 0.50) / 0.28, 0, 1) ** 2.2
    neck = np.minimum(neck_wide - a, y - 0.05)
    slope = 0.66 + 0.34 * np.clip((a - 0.18) / 0.78, 0, 1) ** 1.75
    body = np.minimum(y - slope, 1.06 - a - 0.10 * np.clip((1 - y) / 0.3, 0, 1))
    collar = (
        y - (0.735 + 0.21 * np.clip(1 - (a / 0.235) ** 1.5, 0, 1)) + 0.12 * np.clip((a - 0.235) / 0.3, 0, 1)
    )
    round_ = np.sqrt(np.clip(1 - (x / 0.30) ** 2, 0, 1)) * 0.20 + 0.012 * bump(a, y, 0.06, 0.70, 0.035, 0.16)
    round_ = round_ - 0.022 * bump(x, y, 0, 0.80, 0.05, 0.05) + 0.02 * bump(a, y, 0.17, 0.80, 0.12, 0.03)
    skin = _ramp(_lit(np.asarray(round_, np.float32)), _SKIN_DARK, _SKIN_MID, _SKIN_LIGHT)
    chin = np.clip((0.66 - y) / 0.22, 0, 1) * np.clip(1.25 - a / 0.30, 0, 1)
    away = chin + 0.2 * np.clip((x - 0.02) / 0.2, 0, 1)
    skin = skin * (1 - away[..., None] * np.array([0.46, 0.60, 0.64], np.float32))
    folds = 0.030 * np.sin(9 * x + 5 * y) * bump(a, y, 0.55, 0.95, 0.35, 0.3)
    folds = folds + 0.020 * np.sin(23 * (a - 0.7 * y)) * bump(a, y, 0.42, 0.98, 0.2, 0.2)
    cloth_height = (
        0.30 * np.sqrt(np.clip(1 - (x / 1.25) ** 2, 0, 1)) + 0.25 * np.sqrt(np.clip(body, 0, 1)) + folds
    )
    light = _lit(np.asarray(cloth_height, np.float32))
    weave = _noise(x.shape[0], 0.8, 7) * 0.03
    cloth = _ramp(light + weave, (0.035, 0.075, 0.105), (0.125, 0.275, 0.335), (0.36, 0.55, 0.60))
    hem = np.exp(-(((collar - 0.012) / 0.012) ** 2))
    cloth = cloth * (1 + 0.16 * hem - 0.30 * np.exp(-(((collar + 0.002) / 0.008) ** 2)))[..., None]
    worn = np.clip(np.minimum(collar, body) / pixel + 0.5, 0, 1)
    shade = 1 - 0.30 * np.clip((collar + 0.05) / 0.05, 0, 1) * (1 - worn)
    colour = mix(skin * shade[..., None], cloth, worn)
    alpha = np.clip(np.maximum(np.minimum(neck, 0.95 - y + 0.3), body) / pixel + 0.5, 0, 1)
    return np.asarray(np.concatenate([colour * alpha[..., None], alpha[..., None]], axis=-1), np.float32)


def _ellipsoid(
    x: Plane, y: Plane, centre: tuple[float, float], radii: tuple[float, float], depth: float
) -> Plane:
    """Return the front of an ellipsoid; it falls below zero, steeply, outside of the outline."""
    distance = ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2
    inside = depth * np.sqrt(np.clip(1 - distance, 0, 1))
    return np.asarray(np.where(distance < 1, inside, -depth * np.clip(distance - 1, 0, 1)), np.float32)


def _lit(height: Plane) -> Plane:
    """Return how bright each place of a relief (H, W) is, 0 to about 1: two lights, hollows, a soft sheen."""
    step = 2 / height.shape[0]
    down, right = np.gradient(height, step)
    length = np.sqrt(1 + down**2 + right**2)
    normal = np.stack([-right / length, -down / length, 1 / length], axis=-1)
    key = np.clip((normal @ np.array(_KEY_LIGHT, np.float32) + 0.22) / 1.22, 0, 1)
    fill = np.clip((normal @ np.array(_FILL_LIGHT, np.float32) + 0.3) / 1.3, 0, 1)
    half = np.array(_KEY_LIGHT, np.float32) + np.array([0, 0, 1], np.float32)
    sheen = np.clip(normal @ (half / np.linalg.norm(half)), 0, 1) ** 22
    hollow = np.clip((blur(height, 9) - height) * 9, -0.3, 1) + np.clip(
        (blur(height, 22) - height) * 3, -0.2, 0.6
    )
    light = 0.70 * key + 0.24 * fill + 0.04
    return np.asarray(np.clip(light * (1 - 0.55 * hollow) + 0.13 * sheen, 0, 1), np.float32)


def _ramp(tone: Plane, dark: Colour, middle: Colour, light: Colour) -> Plane:
    """Turn brightness (H, W) in [0, 1] into colour: shadows, then the colour itself, then highlights."""
    low = np.clip(tone / 0.55, 0, 1)
    high = np.clip((tone - 0.55) / 0.45, 0, 1)
    base = np.full((*tone.shape, 3), dark, np.float32)
    return mix(mix(base, middle, low * low * (3 - 2 * low)), light, high)


def _noise(size: int, sigma: float, seed: int) -> Plane:
    """Return smooth noise (size, size) of unit spread, the same every time."""
    field = blur(np.random.default_rng(seed).standard_normal((size, size)).astype(np.float32), sigma)
    return np.asarray(field / field.std(), np.float32)
