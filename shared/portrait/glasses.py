"""Glasses: thin ribbons for the frame, lenses that tint and reflect a little."""

from __future__ import annotations

import numpy as np

from shared.portrait.arrays import Array
from shared.portrait.face import Face
from shared.portrait.mesh import Indices
from shared.portrait.person import Glasses

_ROUND = 30


def _rim(glasses: Glasses, face: Face) -> tuple[Array, Array]:
    """Return the outlines of both lenses, right one first, (2, C, 3), and the ways outwards (C, 2)."""
    turn = np.linspace(0, 2 * np.pi, _ROUND + 1)
    cos, sin = np.cos(turn), np.sin(turn)
    power = 2 / glasses.square
    x, y = np.sign(cos) * np.abs(cos) ** power, np.sign(sin) * np.abs(sin) ** power
    # Lenses are fuller outside above than inside below.
    x = x * (1 + 0.05 * y * glasses.cat)
    out = np.stack([cos, sin], -1)
    rims = []
    for side, eye in zip((-1, 1), face.eye_centres(), strict=True):
        at_x = eye[0] + side * 0.008 + side * glasses.wide * x
        at_y = eye[1] + 0.022 + glasses.high * y
        rims.append(np.stack([at_x, at_y, glasses.off + 0.085 - 0.24 * at_x**2 - 0.15 * (at_y - 0.02)], -1))
    return np.asarray(rims, np.float32), np.asarray(out, np.float32)


def frame(glasses: Glasses, face: Face) -> tuple[Array, Indices]:
    """Return the frame's vertices (V, 3) and triangles (F, 3)."""
    rims, out = _rim(glasses, face)
    half = glasses.thick / 2
    parts: list[Array] = []
    for side, rim in zip((-1, 1), rims, strict=True):
        sideways = np.stack([side * out[:, 0], out[:, 1], np.zeros(len(out))], -1) * half
        parts.append(np.stack([rim - sideways, rim + sideways], 1))
    inner = rims[
        :, np.argmin(np.abs(rims[0, :, 1] - rims[0, :, 1].min() - 0.35 * glasses.high) + (out[:, 0] > 0))
    ]
    t = np.linspace(0, 1, 7)[:, None]
    bridge = inner[0] * (1 - t) + inner[1] * t + np.sin(np.pi * t) * np.array([0, -0.015, 0.035])
    upright = np.array([0, half, 0])
    parts.append(np.stack([bridge - upright, bridge + upright], 1))
    for side, rim in zip((-1, 1), rims, strict=True):
        outer = rim[np.argmin(np.abs(rim[:, 1] - rim[:, 1].min() - 0.4 * glasses.high) + (out[:, 0] < 0))]
        ear = np.array([side * 0.50 * face.shape.width, outer[1] - 0.01, -0.48])
        hinge = np.array([side * 0.492 * face.shape.width, outer[1], outer[2] - 0.06])
        t = np.linspace(0, 1, 8)[:, None]
        temple = np.concatenate([outer[None], hinge * (1 - t) + ear * t])
        parts.append(np.stack([temple - upright, temple + upright], 1))
    faces, first = [], 0
    for part in parts:
        a = first + 2 * np.arange(len(part) - 1)
        faces += [np.stack([a, a + 1, a + 3], -1), np.stack([a, a + 3, a + 2], -1)]
        first += 2 * len(part)
    return np.concatenate([p.reshape(-1, 3) for p in parts]).astype(np.float32), np.concatenate(faces)


def lenses(glasses: Glasses, face: Face) -> tuple[Array, Indices]:
    """Return the lenses' vertices (V, 3), the middle of each first, and triangles (F, 3)."""
    rims, _ = _rim(glasses, face)
    places, faces = [], []
    for number, rim in enumerate(rims):
        first = number * (len(rim) + 1)
        edge = first + 1 + np.arange(len(rim) - 1)
        places.append(np.concatenate([rim.mean(0, keepdims=True), rim]))
        faces.append(np.stack([np.full_like(edge, first), edge, edge + 1], -1))
    return np.concatenate(places), np.concatenate(faces)


def glare(glasses: Glasses, place: Array) -> Array:
    """Return how much of the room the lenses reflect at places (N, 3): a slanting band."""
    across = place[:, 0] * 0.8 + place[:, 1]
    band = np.exp(-(((across % 0.42 - 0.13) / 0.05) ** 2))
    return np.asarray(glasses.glare * band, np.float32)
