"""Small functions on arrays that all of the drawing uses."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
# What is computed from Python's numbers may be wider.
Real = npt.NDArray[np.floating[Any]]
_TILE = 192
Colour = tuple[float, float, float]


def smooth(x: Real, low: float, high: float) -> Array:
    """Return 0 at `low`, 1 at `high` and a smooth step between; `low` may be the larger."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def bump(  # noqa: PLR0917 - a place and a size
    x: Real, y: Real, at_x: float | Real, at_y: float | Real, wide: float, high: float
) -> Array:
    """Return a soft hill of height 1 at a place; `wide` and `high` are where it has fallen to 1/e."""
    return np.asarray(np.exp(-(((x - at_x) / wide) ** 2) - ((y - at_y) / high) ** 2), np.float32)


def mix(below: Real, above: Real | Colour, cover: Real) -> Array:
    """Lay a colour over `below` (..., 3), by `cover` (...) in [0, 1]."""
    return np.asarray(below + (np.asarray(above, np.float32) - below) * cover[..., None], np.float32)


def blur(field: Array, sigma: float) -> Array:
    """Return `field` (H, W) under a Gaussian of `sigma` pixels; the border repeats."""
    reach = int(3 * sigma) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    for _ in range(2):
        padded = np.pad(field, ((0, 0), (reach, reach)), mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, len(kernel), axis=1)
        field = (windows @ kernel).T
    return np.ascontiguousarray(field, np.float32)


def blur_colours(picture: Array, sigma: float) -> Array:
    """Return `picture` (H, W, 3) under a Gaussian of `sigma` pixels."""
    return np.stack([blur(picture[..., i], sigma) for i in range(3)], axis=-1)


def noise(rng: np.random.Generator, shape: tuple[int, int], size: tuple[float, float]) -> Array:
    """Return smooth noise (H, W) of unit spread; `size` is its grain in rows, columns. It repeats itself."""
    high, wide = min(shape[0], _TILE), min(shape[1], _TILE)
    rows, columns = np.fft.fftfreq(high), np.fft.rfftfreq(wide)
    kept = np.exp(-2 * (np.pi * size[0] * rows[:, None]) ** 2 - 2 * (np.pi * size[1] * columns) ** 2)
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((high, wide))) * kept, s=(high, wide))
    tile = (field / (field.std() + 1e-9)).astype(np.float32)
    return np.tile(tile, (-(-shape[0] // high), -(-shape[1] // wide)))[: shape[0], : shape[1]]


def linear(colour: Colour) -> Array:
    """Turn a colour as screens name it, 0 to 1, into linear light."""
    return np.asarray(colour, np.float32) ** 2.2
