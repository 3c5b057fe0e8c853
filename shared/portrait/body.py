"""Ears, neck, shoulders and clothes."""

from __future__ import annotations

import numpy as np

from shared.portrait.arrays import Array, Real, bump, linear, mix, noise, smooth
from shared.portrait.mesh import Texture, grid_normals
from shared.portrait.person import Clothes, Shape, Skin
from shared.portrait.skin import tone_colour

EAR_MESH, EAR_SIZE = (11, 25), (40, 80)
NECK_MESH, NECK_SIZE = (12, 33), (110, 150)
TORSO_MESH, TORSO_SIZE = (14, 41), (220, 360)


def _ear_relief(ring: Real, around: Real) -> Array:
    """Return how far an ear stands out, from its middle (ring 0) to its rim (1); `around` 0 is up."""
    back = 0.5 + 0.5 * np.cos(around - 1.2)
    rim = np.exp(-(((ring - 0.86) / 0.12) ** 2)) * (0.35 + 0.65 * back)
    inner = np.exp(-(((ring - 0.52) / 0.10) ** 2)) * smooth(np.cos(around - 1.6), -0.4, 0.5)
    return np.asarray(0.035 * rim + 0.022 * inner - 0.028 * np.exp(-((ring / 0.35) ** 2)), np.float32)


def ear(side: int, size: float, rows: int, columns: int, wide: float) -> Array:
    """Return an ear (rows, columns, 3) of the side -1 or 1; `wide` is the head's width as a share."""
    ring, around = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 2 * np.pi, columns), indexing="ij")
    # Narrower at the lobe, fuller above.
    lobe = 1 - 0.30 * (0.5 - 0.5 * np.cos(around)) ** 1.5
    back = ring * 0.115 * size * np.sin(around) * lobe
    down = -ring * 0.185 * size * np.cos(around)
    out = _ear_relief(ring, around) * smooth(ring, 1.05, 0.9)
    tilt = 0.38
    x = 0.470 * wide + 0.028 + back * np.sin(tilt) + out * np.cos(tilt)
    z = -0.50 - back * np.cos(tilt) + out * np.sin(tilt)
    y = 0.095 + down - 0.15 * back
    place = np.stack([side * x, y, z], -1).astype(np.float32)
    return place if side > 0 else place[:, ::-1]


def paint_ear(side: int, skin: Skin) -> Texture:
    """Return the texture of an ear."""
    ring, around = np.meshgrid(
        np.linspace(0, 1, EAR_SIZE[0]), np.linspace(0, 2 * np.pi, EAR_SIZE[1]), indexing="ij"
    )
    around = around if side > 0 else around[:, ::-1]
    ring, around = ring.astype(np.float32), around.astype(np.float32)
    height = _ear_relief(ring, around)
    open_ = np.clip(0.60 + 14 * height, 0.25, 1.0)
    colour = np.ones((*EAR_SIZE, 1), np.float32) * tone_colour(skin.tone)
    red = 1 - 0.30 * (0.4 + skin.red) * np.array([0.05, 0.8, 0.7], np.float32)
    normal = grid_normals(ear(side, 1.0, *EAR_SIZE, 1.0))
    normal[0] = normal[1]
    normal *= side * np.sign(normal[..., 0].mean())
    return Texture(colour * red, normal, open_.astype(np.float32), np.full(EAR_SIZE, 0.5, np.float32))


def neck(shape: Shape, rows: int, columns: int) -> Array:
    """Return the neck (rows, columns, 3), from inside the head to inside the chest."""
    down, angle = np.meshgrid(np.linspace(0, 1, rows), np.linspace(-np.pi, np.pi, columns), indexing="ij")
    wide = (0.330 + 0.10 * smooth(down, 0.62, 1.0) + 0.02 * smooth(down, 0.3, 0.0)) * shape.neck
    deep = 0.36 + 0.04 * smooth(down, 0.6, 1.0)
    muscle = bump(np.abs(angle), down, 0.75 - 0.5 * 0.6, 0.62, 0.16, 0.35)
    radius = 1 + 0.035 * muscle + 0.02 * bump(angle, down, 0, 0.45, 0.18, 0.12)
    x = wide * radius * np.sin(angle)
    z = -0.60 + 0.03 * down + deep * radius * np.cos(angle)
    return np.stack([x, 0.28 + 0.98 * down, z], -1).astype(np.float32)


def paint_neck(shape: Shape, skin: Skin) -> Texture:
    """Return the texture of the neck, in the chin's shadow above."""
    rng = np.random.default_rng(skin.seed + 5)
    down, angle = np.meshgrid(
        np.linspace(0, 1, NECK_SIZE[0]), np.linspace(-np.pi, np.pi, NECK_SIZE[1]), indexing="ij"
    )
    colour = np.ones((*NECK_SIZE, 1), np.float32) * tone_colour(skin.tone) * 0.94
    colour = colour * (1 + 0.03 * skin.blotches * noise(rng, NECK_SIZE, (5, 5)))[..., None]
    open_ = 0.30 + 0.70 * smooth(down, 0.36, 0.78)
    open_ = open_ * (1 - 0.25 * bump(angle, down, 0, 0.86, 0.25, 0.07))
    stubble = 0.25 * skin.stubble * smooth(down, 0.75, 0.5)
    colour = mix(colour, linear(skin.beard_colour), stubble.astype(np.float32))
    normal = grid_normals(neck(shape, *NECK_SIZE))
    return Texture(
        colour.astype(np.float32), normal, open_.astype(np.float32), np.full(NECK_SIZE, 0.45, np.float32)
    )


def torso(clothes: Clothes, rows: int, columns: int) -> Array:
    """Return shoulders and chest (rows, columns, 3)."""
    down, q = np.meshgrid(np.linspace(0, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    x = q * 1.75 * clothes.width
    a = np.abs(x)
    slope = clothes.slope * (0.07 * smooth(a, 0.22, 0.60) + 0.40 * np.clip(a - 0.35, 0, 3))
    fall = 1.6 * np.clip(a - 1.28 * clothes.width, 0, 1) ** 1.5
    top = 0.93 + slope + fall
    turn = np.minimum(down / 0.45, 1) * np.pi / 2
    y = top + 0.42 * (1 - np.cos(turn)) + 2.2 * np.clip(down - 0.45, 0, 1)
    z = -0.72 + 0.62 * np.sin(turn) - 0.30 * (a / 1.5) ** 2.2 * np.sin(turn)
    return np.stack([x, y, z], -1).astype(np.float32)


def paint_torso(skin: Skin, clothes: Clothes) -> Texture:
    """Return the texture of chest and clothes."""
    rng = np.random.default_rng(clothes.seed)
    place = torso(clothes, *TORSO_SIZE)
    x, y = place[..., 0], place[..., 1]
    a = np.abs(x)
    cloth = np.ones((*TORSO_SIZE, 1), np.float32) * linear(clothes.colour)
    second = linear(clothes.second)
    if clothes.pattern == "stripes":
        cloth = mix(cloth, second, smooth(np.sin(y * clothes.pace), -0.1, 0.1))
    elif clothes.pattern == "checks":
        lines = smooth(np.sin(y * clothes.pace), 0.4, 0.6) + smooth(np.sin(x * clothes.pace), 0.4, 0.6)
        cloth = mix(cloth, second, 0.4 * lines)
    cloth = (
        cloth
        * (1 + 0.05 * noise(rng, TORSO_SIZE, (1, 1)) + 0.05 * noise(rng, TORSO_SIZE, (14, 20)))[..., None]
    )
    bare = tone_colour(skin.tone) * np.ones_like(cloth)
    if clothes.neckline == "v":
        edge = 0.93 + clothes.depth - 1.15 * clothes.depth * a / 0.40
    elif clothes.neckline == "jacket":
        edge = 1.46 - 1.9 * a
    else:
        edge = (
            0.97 + clothes.depth * np.sqrt(np.clip(1 - (a / 0.50) ** 2, 0, 1)) - 0.3 * np.clip(a - 0.5, 0, 1)
        )
    inside = y - edge
    if clothes.neckline == "jacket":
        shirt = np.ones_like(cloth) * linear(clothes.shirt)
        tie = np.abs(x) - 0.055 - 0.05 * np.clip(y - 1.0, 0, 1)
        if clothes.tie:
            shirt = mix(shirt, linear(clothes.second), smooth(tie, 0.012, -0.012))
        bare = shirt
    worn = smooth(inside, -0.006, 0.006)
    hem = 1 - 0.45 * np.exp(-((inside / 0.014) ** 2))
    colour = mix(bare, cloth, worn) * hem[..., None]
    folds = 0.020 * noise(rng, TORSO_SIZE, (16, 30)) * worn + 0.012 * worn
    normal = grid_normals(place + folds[..., None] * np.array([0, 0, 1], np.float32))
    open_ = (0.50 + 0.50 * smooth(y - 0.25 * a, 0.9, 1.20)) * (
        1 - 0.3 * bump(x, y, 0, 1.04, 0.12, 0.06) * (1 - worn)
    )
    gloss = (0.4 * (1 - worn) + clothes.gloss * worn).astype(np.float32)
    return Texture(colour.astype(np.float32), normal, open_.astype(np.float32), gloss)
