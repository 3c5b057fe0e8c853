"""Skin texture of the head, over angle and row."""

from __future__ import annotations

import numpy as np

from shared.portrait.arrays import Array, blur, bump, linear, mix, noise, smooth
from shared.portrait.features import LIP_HALF, brow_line, lower_lip_edge, upper_lip_edge
from shared.portrait.head import (
    EYE_HALF,
    EYE_U,
    MOUTH_HALF,
    MOUTH_V,
    ROWS,
    average,
    relief,
    surface,
)
from shared.portrait.mesh import Texture, grid_normals
from shared.portrait.person import Shape, Skin
from shared.portrait.shadow import cast

SIZE = (384, 384)
_TONES = np.array([
    (0.945, 0.800, 0.730), (0.900, 0.730, 0.635), (0.835, 0.640, 0.520), (0.725, 0.545, 0.435),
    (0.585, 0.420, 0.325), (0.445, 0.308, 0.235), (0.330, 0.215, 0.160), (0.235, 0.155, 0.120),
])  # fmt: skip


def columns_of(angle: Array) -> Array:
    """Return the column of the texture, 0 to its last, for an angle; the front has more of them."""
    q = np.linspace(-1, 1, 801)
    share = np.interp(angle, np.pi * (0.5 * q + 0.5 * q**3), q)
    return np.asarray((share + 1) / 2 * (SIZE[1] - 1), np.float32)


def rows_of(row: Array) -> Array:
    """Return the row of the texture for a row of the head."""
    return np.asarray(row / ROWS * (SIZE[0] - 1), np.float32)


def grid() -> tuple[Array, Array]:
    """Return angle (1, W) and row (H, 1) of the texture's columns and rows."""
    q = np.linspace(-1, 1, SIZE[1], dtype=np.float32)
    angle, row = np.pi * (0.5 * q + 0.5 * q**3), np.linspace(0, ROWS, SIZE[0])
    return angle[None].astype(np.float32), row[:, None].astype(np.float32)


def tone_colour(tone: float) -> Array:
    """Return the linear albedo of skin."""
    at = np.linspace(0, 1, len(_TONES))
    red, green, blue = (float(np.interp(tone, at, _TONES[:, i])) for i in range(3))
    return linear((red, green, blue))


def paint(skin: Skin, shape: Shape, key: tuple[float, float, float]) -> Texture:
    """Return the head's texture, in light from `key`."""
    angle, row = grid()
    u, v = average(angle, row)
    front = smooth(np.cos(angle), 0.0, 0.2)
    rng = np.random.default_rng(skin.seed)
    colour = np.ones((*SIZE, 1), np.float32) * tone_colour(skin.tone)
    colour = _blood(colour, u, v, skin, front)
    grain = noise(rng, SIZE, (9, 9)) + noise(rng, SIZE, (1.3, 1.3))
    colour *= 1 + np.float32(0.030 * skin.blotches) * grain[..., None]
    if skin.freckles:
        colour = _freckles(colour, u, v, skin, rng)
    lips, red = _lips(u, v)
    gloss = skin.gloss * (0.55 + 0.5 * bump(u, v, 0, 0.2, 0.06, 0.2) + 0.35 * bump(u, v, 0, -0.28, 0.25, 0.1))
    colour = _paint_lips(colour, u, v, skin, lips, rng)
    gloss = gloss + 0.9 * red
    colour = _paint_lids(colour, u, v, skin, shape)
    colour = _paint_brows(colour, u, v, skin, rng)
    colour = _paint_beard(colour, u, v, skin, lips, rng)
    height = relief(u, v, shape) * front
    hollow = 7.5 * (blur(height, 7) - height) + 4.0 * (blur(height, 20) - height)
    open_ = np.clip(1 - np.clip(hollow, -0.12, 0.75), 0, 1.1)
    open_ = open_ * _creases(u, v, skin)
    place = surface(shape, angle, row)
    return Texture(
        np.clip(colour, 0.004, 1).astype(np.float32), grid_normals(place + _grain(rng, skin)),
        open_.astype(np.float32), gloss.astype(np.float32), cast(place, np.cos(angle), key),
    )  # fmt: skip


def _grain(rng: np.random.Generator, skin: Skin) -> Array:
    bumps = 0.00016 * noise(rng, SIZE, (1.6, 1.6)) + 0.0005 * skin.age * noise(rng, SIZE, (3, 5))
    return bumps[..., None] * np.array([0, 0, 1], np.float32)


def _blood(colour: Array, u: Array, v: Array, skin: Skin, front: Array) -> Array:
    a = np.abs(u)
    blush = 0.8 * bump(a, v, 0.27, 0.21, 0.12, 0.09) + 0.9 * bump(u, v, 0, 0.26, 0.10, 0.07)
    blush = blush + 0.5 * bump(u, v, 0, 0.67, 0.12, 0.07) + 0.4 * bump(a, v, EYE_U, -0.04, 0.12, 0.05)
    under = bump(a, v, 0.19, 0.075, 0.085, 0.030)
    amount = 0.30 * skin.red * (blush * front)[..., None]
    colour = colour * (1 - amount * np.array([0.10, 0.95, 0.80], np.float32))
    colour = colour * (
        1 - (0.10 + 0.25 * skin.age) * (under * front)[..., None] * np.array([0.8, 1, 0.75], np.float32)
    )
    forehead = smooth(v, -0.15, -0.40)
    return np.asarray(
        colour * (1 + 0.04 * forehead[..., None] * np.array([1, 0.8, 0.3], np.float32)), np.float32
    )


def _freckles(colour: Array, u: Array, v: Array, skin: Skin, rng: np.random.Generator) -> Array:
    where = bump(np.abs(u), v, 0.16, 0.16, 0.20, 0.11) + 0.4 * bump(u, v, 0, -0.25, 0.3, 0.2)
    spots = smooth(noise(rng, SIZE, (1.7, 1.7)), 1.1, 2.0) * np.clip(where, 0, 1)
    return mix(colour, colour * np.array([0.62, 0.46, 0.36], np.float32), skin.freckles * spots)


def _lips(u: Array, v: Array) -> tuple[Array, Array]:
    """Return where the red of the lips is, soft and shrunk, each (H, W) in [0, 1]."""
    inside = np.minimum(v - upper_lip_edge(u), lower_lip_edge(u) - v)
    inside = np.where(np.abs(u) < LIP_HALF, inside, -1)
    return smooth(inside, -0.004, 0.007), smooth(inside, 0.004, 0.022)


def _paint_lips(  # noqa: PLR0917 - places, and what is there
    colour: Array, u: Array, v: Array, skin: Skin, lips: Array, rng: np.random.Generator
) -> Array:
    own = colour * np.array([0.72, 0.47, 0.47], np.float32) + 0.02 * np.array([1, 0.2, 0.2], np.float32)
    red = mix(own, linear(skin.lip_colour), np.full_like(u, skin.lip_paint))
    lines = 1 + 0.05 * noise(rng, SIZE, (6, 1.0))
    upper = 0.82 + 0.18 * smooth(v - MOUTH_V, -0.01, 0.01)
    colour = mix(colour, red * (lines * upper)[..., None], 0.92 * lips)
    across = np.clip(1.02 - (u / MOUTH_HALF) ** 2, 0, 1) ** 0.3
    line = np.exp(-(((v - MOUTH_V) / 0.0065) ** 2)) * across
    corner = bump(np.abs(u), v, MOUTH_HALF + 0.004, MOUTH_V + 0.003, 0.016, 0.012)
    return mix(
        colour, colour * np.array([0.16, 0.07, 0.07], np.float32), np.clip(0.8 * line + 0.55 * corner, 0, 0.9)
    )


def _paint_lids(colour: Array, u: Array, v: Array, skin: Skin, shape: Shape) -> Array:
    a = np.abs(u)
    across = (a - EYE_U) / EYE_HALF
    arch = np.clip(1 - (across / 1.12) ** 2, 0, 1)
    lid = smooth(v, -0.075, -0.04) * smooth(v, 0.006, 0.0) * arch**0.5
    colour = mix(colour, linear(skin.shadow_colour), skin.shadow * lid)
    # Where the lid folds when it opens, and the line of the lashes.
    fold = -0.050 * np.clip(1 - ((across + 0.05) / 1.15) ** 2, 0, 1) ** 0.6 - 0.004
    crease = np.exp(-(((v - fold) / 0.0075) ** 2)) * smooth(np.abs(across), 1.15, 0.7)
    colour = colour * (1 - 0.36 * shape.lid_fold * crease[..., None] * np.array([0.8, 1, 1], np.float32))
    upper = smooth(v, -0.024, -0.010) * smooth(v, 0.006, 0.001) * smooth(np.abs(across), 1.10, 0.92)
    dark = np.array([0.020, 0.013, 0.011], np.float32)
    colour = mix(colour, dark, np.clip(0.35 + 0.65 * skin.lashes, 0, 0.97) * upper)
    lower = smooth(v, 0.0, 0.002) * smooth(v, 0.009, 0.003) * smooth(np.abs(across), 1.02, 0.8)
    rim = colour * np.array([0.80, 0.56, 0.54], np.float32)
    colour = mix(colour, rim, 0.75 * lower)
    lashes = smooth(v, 0.006, 0.009) * smooth(v, 0.019, 0.010) * smooth(np.abs(across - 0.2), 0.9, 0.4)
    return mix(colour, dark, 0.30 * skin.lashes * lashes)


def _paint_brows(colour: Array, u: Array, v: Array, skin: Skin, rng: np.random.Generator) -> Array:
    a = np.abs(u)
    middle, half = brow_line(a)
    half = half * skin.brow_thick
    strands = noise(rng, SIZE, (2.2, 1.0)) + 0.6 * noise(rng, SIZE, (1.0, 1.0))
    body = smooth(np.abs(v - middle) / half + 0.11 * strands, 1.25, 0.35)
    ends = smooth(a, 0.068, 0.112) * smooth(a, 0.388, 0.350)
    cover = np.clip(skin.brow_weight * body * ends * (0.92 + 0.10 * strands), 0, 0.97)
    return mix(colour, linear(skin.brow_colour), cover)


def _beard_mask(u: Array, v: Array) -> tuple[Array, Array]:
    """Return where a beard and where a moustache grow, each in [0, 1]."""
    a = np.abs(u)
    line = 0.30 + 0.30 * np.clip((0.42 - a) / 0.24, 0, 1) ** 1.4
    jaw = smooth(v - line, -0.05, 0.05)
    chin = bump(u, v, 0, 0.65, 0.20, 0.12)
    beard = np.clip(np.maximum(jaw, 1.3 * chin), 0, 1) * smooth(v, 0.40, 0.47)
    beard = np.maximum(beard, jaw * smooth(a, 0.22, 0.32))
    moustache = smooth(v - 0.35 * a**1.5, 0.305, 0.365) * smooth(v, 0.47, 0.43) * smooth(a, 0.215, 0.120)
    moustache = np.maximum(moustache, 0.7 * bump(a, v, 0.195, 0.47, 0.030, 0.07))
    return beard, np.clip(moustache, 0, 1)


def _paint_beard(  # noqa: PLR0917 - places, and what is there
    colour: Array, u: Array, v: Array, skin: Skin, lips: Array, rng: np.random.Generator
) -> Array:
    if not (skin.stubble or skin.beard or skin.moustache):
        return colour
    beard, moustache = _beard_mask(u, v)
    grow = np.clip(np.maximum(beard, moustache), 0, 1)
    hair = linear(skin.beard_colour)
    free = 1 - np.clip(1.2 * lips, 0, 1)
    dots = 0.75 + 0.25 * noise(rng, SIZE, (1.0, 0.9))
    colour = mix(
        colour, np.maximum(hair, 0.25 * colour), np.clip(0.45 * skin.stubble * grow * dots * free, 0, 0.8)
    )
    strands = noise(rng, SIZE, (4.0, 1.0))
    full = np.maximum(skin.beard * beard, skin.moustache * moustache)
    cover = smooth(full + 0.10 * strands, 0.25, 0.75) * free
    shade = 1 + 0.35 * strands
    return mix(colour, hair * np.clip(shade, 0.3, 2)[..., None], 0.96 * cover)


def _creases(u: Array, v: Array, skin: Skin) -> Array:
    """Return how much light the folds of the skin and the nostrils keep, (H, W)."""
    a = np.abs(u)
    nostril = bump(a, v, 0.052, 0.300 - 0.10 * (a - 0.05), 0.026, 0.0120)
    ring = np.hypot((a - 0.085) / 0.045, (v - 0.262) / 0.045) - 1
    wing = np.exp(-((ring / 0.16) ** 2)) * smooth(a, 0.09, 0.12)
    fold = 0.130 + 0.075 * np.clip((v - 0.27) / 0.18, 0, 1.2) ** 0.8
    smile = np.exp(-(((a - fold) / 0.012) ** 2)) * smooth(v, 0.25, 0.30) * smooth(v, 0.50, 0.40)
    under = v - 0.062 - 0.02 * (1 - ((a - 0.19) / 0.1) ** 2)
    bag = np.exp(-((under / 0.010) ** 2)) * smooth(np.abs(a - 0.19), 0.11, 0.05)
    shade = 0.86 * np.clip(1.15 * nostril, 0, 1) + 0.28 * wing
    shade = shade + (0.10 + 0.35 * skin.age) * smile + (0.04 + 0.30 * skin.age) * bag
    shade = shade + 0.25 * bump(u, v, 0, 0.568, 0.09, 0.016)
    if skin.age > 0.35:
        lines = np.sin((v + 0.03 * np.cos(u * 9)) * 95) ** 8 * smooth(np.abs(u), 0.28, 0.12)
        shade = shade + 0.22 * (skin.age - 0.35) * lines * smooth(v, -0.19, -0.23) * smooth(v, -0.40, -0.34)
    return np.asarray(1 - np.clip(shade, 0, 0.92), np.float32)
