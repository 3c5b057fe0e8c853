"""Hair: a shell over the skull that may go on below it, cut out where hair grows."""

from __future__ import annotations

import numpy as np

from shared.portrait.arrays import Array, linear, mix, noise, smooth
from shared.portrait.head import loft_point, sections
from shared.portrait.mesh import Texture, grid_normals
from shared.portrait.person import Hair, Shape

SIZE = (300, 360)
MESH = (50, 81)
_ROWS = 16.0
SHELL = 8
_COVERS_EARS = ("long",)


def covers_ears(hair: Hair) -> bool:
    """Return whether the ears are hidden."""
    return hair.style in _COVERS_EARS and not hair.tucked


def _table(shape: Shape, hair: Hair) -> Array:
    """Return the cross-sections of the bare shell: the skull's, then down to where the hair ends."""
    head = sections(shape)
    table = np.empty((17, 6), np.float32)
    table[: SHELL + 1] = head[: SHELL + 1]
    end = hair.end if hair.style in _COVERS_EARS else 0.62
    share = np.arange(1, 9, dtype=np.float32) / 8
    last = head[SHELL]
    table[SHELL + 1 :, 0] = last[0] + share * (end - last[0])
    table[SHELL + 1 :, 1] = last[1] + (0.02 * share if hair.style in _COVERS_EARS else -0.12 * share)
    table[SHELL + 1 :, 2] = last[2] + share * (0.10 if hair.style in _COVERS_EARS else -0.25)
    table[SHELL + 1 :, 3] = last[3] - 0.04 * share
    table[SHELL + 1 :, 4] = last[4] + share * (0.10 if hair.style in _COVERS_EARS else 0.42)
    table[SHELL + 1 :, 5] = 2.1
    return table


def _volume(angle: Array, row: Array, hair: Hair, inside: Array) -> Array:
    """Return how far the hair stands off the shell."""
    top = smooth(row, 6.0, 1.5)
    side = hair.sides * (1 + 0.25 * smooth(row, 7, 10)) * smooth(row, -1, 4)
    volume = np.maximum(hair.top * top, side)
    volume = volume + 0.4 * hair.top * smooth(row, 5.5, 2.5) * smooth(np.cos(angle), 0.2, 0.9)
    # Combed up, hair rises at once from the forehead.
    rises = 0.13 - 0.085 * hair.lift * smooth(np.cos(angle), 0.45, 0.8)
    return np.asarray(0.008 + volume * smooth((inside + 0.01) / rises, 0, 1), np.float32)


def cover(angle: Array, y: Array, hair: Hair) -> Array:
    """Return how far inside the hair a place of the head is: a distance, positive where hair grows."""
    degrees = np.abs(np.rad2deg(angle))
    if hair.style == "hat":
        return np.asarray(hair.hairline + 0.16 + 0.10 * np.clip(degrees / 180, 0, 1) - y, np.float32)
    line = hair.hairline + 0.13 * np.clip(degrees / 50, 0, 1.4) ** 2
    line = line - hair.recede * (0.10 + 0.12 * np.exp(-(((degrees - 32) / 14) ** 2)))
    if hair.parted:
        line = (
            line - 0.035 * np.exp(-(((angle - hair.part) / 0.30) ** 2)) + 0.05 * np.clip(degrees / 50, 0, 1.2)
        )
    if hair.fringe:
        hang = hair.fringe * (1 + hair.sweep * np.sin(1.4 * angle)) * smooth(degrees, 66, 30)
        line = line + hang
    heights = np.array([-0.60, -0.40, -0.28, -0.12, 0.05, 0.20, 0.60, 1.2])
    temples = np.array([40, 48, 56, 63, 66, 68, 72, 64]) + 22 * hair.recede
    if hair.style == "long" and hair.tucked:
        temples = temples + hair.tucked * np.array([0, 0, 0, 10, 34, 34, 18, 6])
    sides = (degrees - np.interp(y, heights, temples)) * 0.0085
    grown = np.maximum(line - y, sides)
    if hair.style in _COVERS_EARS:
        return np.asarray(np.minimum(grown, hair.end + 0.01 - y), np.float32)
    ends = np.interp(degrees, [0, 74, 80, 100, 108, 180], [hair.burns, hair.burns, -0.07, -0.05, 0.25, 0.50])
    return np.asarray(np.minimum(grown, ends - y), np.float32)


def _grid(rows: int, columns: int) -> tuple[Array, Array]:
    q = np.linspace(-1, 1, columns, dtype=np.float32)
    angle, row = np.meshgrid(np.pi * (0.8 * q + 0.2 * q**3), np.linspace(0, _ROWS, rows))
    return angle.astype(np.float32), row.astype(np.float32)


def _place(angle: Array, row: Array, shape: Shape, hair: Hair) -> tuple[Array, Array]:
    """Return the places (H, W, 3) of the shell, and how far inside the hair they are."""
    bare = loft_point(_table(shape, hair), angle, row)
    inside = cover(angle, bare[..., 1], hair)
    normal = grid_normals(bare)
    normal[0] = (0, -1, 0)
    volume = _volume(angle, row, hair, inside)
    return bare + normal * volume[..., None], inside


def mesh(shape: Shape, hair: Hair) -> Array:
    """Return the vertices of the hair (H, W, 3), a grid that runs right and down."""
    angle, row = _grid(*MESH)
    place, _ = _place(angle, row, shape, hair)
    rng = np.random.default_rng(hair.seed)
    fuzz = noise(rng, MESH, (2.5, 1.2)) * (0.006 + 0.03 * hair.curl) * smooth(row, 0.5, 3)
    fuzz[:, -1] = fuzz[:, 0]
    away = place - np.array([0, -0.2, -0.55], np.float32)
    away[..., 1] *= row < SHELL
    away /= np.linalg.norm(away, axis=-1, keepdims=True) + 1e-6
    return np.asarray(place + away * (fuzz * min(1.0, hair.sides / 0.04))[..., None], np.float32)


def _strands(
    rng: np.random.Generator, angle: Array, row: Array, hair: Hair, grain: tuple[float, float]
) -> Array:
    """Return noise (H, W) of unit spread drawn out along the strands; `grain` along and across them."""
    field = noise(rng, (512, 1024), grain)
    down = angle * (1024 / (2 * np.pi)) * 0.8
    # From a parting the strands run outwards before they fall.
    outwards = (row - 1.9 * np.abs(angle - hair.part) ** 1.2) * 26
    share = smooth(row, 2.5, 7.0) if hair.parted else np.ones_like(row)
    share = np.maximum(share, smooth(np.abs(angle), 1.3, 2.2))
    across = share * down + (1 - share) * outwards
    wave = 14 * hair.curl * np.sin(row * 1.7 + 2 * np.sin(angle * 3))
    along = row * 20 + np.abs(angle) * 12 * (1 - share)
    place = along.astype(np.int64) % 512, (across + wave).astype(np.int64) % 1024
    return np.asarray(field[place], np.float32)


def paint(shape: Shape, hair: Hair) -> Texture:
    """Return the hair's texture; its alpha is where hair is."""
    angle, row = _grid(*SIZE)
    place, inside = _place(angle, row, shape, hair)
    rng = np.random.default_rng(hair.seed)
    length = 34 if hair.style in ("long", "tied") else 12
    grain = (2.5 + length * max(0.0, 1 - 1.3 * hair.curl), 1.1 + 2.0 * hair.curl)
    if hair.style == "hat":
        grain = (2.0, 2.0)
    fine = _strands(rng, angle, row, hair, grain)
    coarse = _strands(rng, angle, row, hair, (grain[0] * 1.5, grain[1] * 5))
    open_ = (0.50 + 0.50 * smooth(inside, 0.0, 0.12)) * np.clip(1 + 0.20 * coarse, 0.4, 1.2)
    shine = 0.0 if hair.style == "hat" else max(0.0, 1.1 - 0.7 * hair.curl)
    return Texture(
        _colour(angle, row, hair, fine, coarse),
        _bent(grid_normals(place), angle, 0.30 * fine + 0.14 * coarse),
        open_.astype(np.float32),
        np.asarray(shine * (0.8 + 0.4 * np.clip(fine, -1, 1)), np.float32),
        alpha=(_ragged(inside, hair, fine, coarse, rng) > 0).astype(np.float32),
    )


def _colour(angle: Array, row: Array, hair: Hair, fine: Array, coarse: Array) -> Array:
    """Return the strands' colour (H, W, 3): tips, grey ones, and the dark of the parting."""
    tips = smooth(row, 3, 16) if hair.style == "long" else smooth(row, 6, 0) * 0.5
    colour = mix(np.ones((*SIZE, 1), np.float32) * linear(hair.colour), linear(hair.tips), tips)
    colour = mix(colour, (0.42, 0.41, 0.40), np.clip(hair.grey * (1 + 0.15 * fine), 0, 1))
    strands = (0.32 - 0.18 * hair.grey) * (0.75 * fine + 0.22 * coarse)
    colour *= np.clip(1 + strands, 0.3, 2.0)[..., None]
    if hair.parted:
        seam = np.exp(-(((angle - hair.part) / 0.035) ** 2)) * smooth(row, 4.6, 3.5) * smooth(row, 0.3, 1.0)
        colour = mix(colour, 0.35 * colour, 0.8 * seam)
    return np.clip(colour, 0.003, 1)


def _bent(normal: Array, angle: Array, strands: Array) -> Array:
    """Return the normals (H, W, 3) bent to the sides by the strands, which spreads the lamp's reflection."""
    normal[0] = (0, -1, 0)
    across = np.stack([np.cos(angle), np.zeros_like(angle), -np.sin(angle)], axis=-1)
    bent = normal + strands[..., None] * across
    return np.asarray(bent / np.linalg.norm(bent, axis=-1, keepdims=True), np.float32)


def _ragged(inside: Array, hair: Hair, fine: Array, coarse: Array, rng: np.random.Generator) -> Array:
    """Return `inside` with an edge of single strands."""
    if hair.style == "hat":
        return inside
    if hair.style == "buzz":
        single = 0.016 * noise(rng, SIZE, (1.2, 0.7))
    else:
        single = 0.008 * noise(rng, SIZE, (6.0, 0.7))
    return np.asarray(inside + (0.012 + 0.012 * hair.curl) * fine + 0.010 * coarse + single, np.float32)
