"""Augmentation of training pictures: moved, bent, tinted; and their landmarks with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from shared.keypoints import Floats, Pictures

# A similarity as (2, 3): what is at z goes to A z + b, in positions in [-1, 1].
Move: TypeAlias = npt.NDArray[np.floating]
Range: TypeAlias = tuple[float, float]
# `models.training.data.device_pairs` changes pictures by the same numbers.
GAIN: Range = (0.8, 1.2)
TINGE: Range = (0.85, 1.15)
LIGHT: Range = (-20.0, 20.0)
"""What pixels are multiplied with, each colour by itself once more, and what is added to them."""
GREY = 0.08
BEND = 0.025
"""How far, of its size, a picture is bent at 5x5 places."""
INVERSIONS = 4
"""Steps in which it is found where a bent picture's landmarks are: the shift is smooth, and few do."""


def similarity(rng: np.random.Generator, turn: float, zoom: tuple[float, float], shift: float) -> Move:
    """Return a random rotation (up to `turn` radians), zoom and shift as (2, 3), of positions in [-1, 1]."""
    angle, scale = rng.uniform(-turn, turn), np.exp(rng.uniform(*np.log(zoom)))
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    x, y = rng.uniform(-shift, shift, 2)
    return np.array([[cos, -sin, x], [sin, cos, y]])


def moved(picture: Pictures, move: Move) -> Pictures:
    """Move what is at z in [-1, 1]^2 of a square picture to A z + b; beyond the border it is reflected."""
    if np.array_equal(move, np.eye(2, 3)):
        return picture
    if np.array_equal(move, np.eye(2, 3) * [[-1], [1]]):
        return picture[:, ::-1]
    half = len(picture) / 2
    # Pixel p is at (p + 0.5) / half - 1.
    matrix = move[:, :2]
    offset = half * (move[:, 2] + 1 - matrix.sum(1)) + 0.5 * matrix.sum(1) - 0.5
    whole = np.column_stack([matrix, offset])
    size = picture.shape[1::-1]
    return np.asarray(
        cv2.warpAffine(picture, whole, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101),
        np.uint8,
    )


def bend(size: int, rng: np.random.Generator) -> Floats:
    """Return a smooth random displacement (size, size, 2) of about 4 % of a square picture, in pixels."""
    coarse = rng.normal(0, BEND * size, (5, 5, 2)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC))


def bent(picture: Pictures, shift: Floats) -> Pictures:
    """Show at each pixel of a square picture what is by `shift` (size, size, 2) pixels away from it."""
    size = len(picture)
    x, y = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
    shown = cv2.remap(
        picture, x + shift[..., 0], y + shift[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(shown, np.uint8)


def bent_landmarks(faces: Floats, shift: Floats) -> Floats:
    """Return the landmarks (N, 175, 2) of pictures that were `bent`."""
    size = len(shift)
    places = (faces.reshape(-1, 1, 2) + 1) * (size / 2) - 0.5
    at = places
    # What is now at p was at p + shift(p).
    for _ in range(INVERSIONS):
        moved_by = cv2.remap(shift, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        at = places - moved_by
    return np.asarray(((at + 0.5) * (2 / size) - 1).reshape(faces.shape), np.float32)


def tint(pair: Sequence[Pictures], rng: np.random.Generator) -> list[Pictures]:
    """Change brightness and colour of all pictures of a pair alike; now and then, take the colour away."""
    gain = rng.uniform(*GAIN) * rng.uniform(*TINGE, 3)
    table = np.clip(np.arange(256)[:, None] * gain + rng.uniform(*LIGHT), 0, 255).astype(np.uint8)
    if rng.random() < GREY:
        pair = [np.repeat(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2) for p in pair]
    return [np.asarray(cv2.LUT(np.ascontiguousarray(p), table[None]), np.uint8) for p in pair]
