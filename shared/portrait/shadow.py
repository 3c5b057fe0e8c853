"""The shadows that a face casts on itself: of the nose, the brows, the lips."""

from __future__ import annotations

import numpy as np

from shared.portrait.arrays import Array, blur

_MAP = 160
_REACH = 0.85
_STEPS = np.array([0.025, 0.045, 0.07, 0.10, 0.14, 0.19, 0.25, 0.32], np.float32)


def _map(place: Array) -> Array:
    """Return the greatest z over a square of x and y from -_REACH to _REACH: (_MAP, _MAP)."""
    at = ((place[..., :2] / _REACH + 1) * (_MAP / 2)).astype(np.int64).clip(0, _MAP - 1)
    heights = np.full(_MAP * _MAP, -2, np.float32)
    np.maximum.at(heights, (at[..., 1] * _MAP + at[..., 0]).reshape(-1), place[..., 2].reshape(-1))
    return heights


def cast(place: Array, ahead: Array, key: tuple[float, float, float]) -> Array:
    """Return how much of the light from `key` arrives on a head (H, W, 3), (H, W) in [0, 1].

    `ahead`, broadcast to (H, W), is positive in front; only there is looked for shadows.
    """
    towards = np.asarray(key, np.float32) / np.linalg.norm(key)
    front = np.broadcast_to(ahead > 0.05, place.shape[:2])
    heights = _map(place[front])
    from_ = place[front]
    hidden = np.zeros(len(from_), np.float32)
    for step in _STEPS:
        at = from_ + step * towards
        index = ((at[:, :2] / _REACH + 1) * (_MAP / 2)).astype(np.int64).clip(0, _MAP - 1)
        above = heights[index[:, 1] * _MAP + index[:, 0]] - at[:, 2]
        # The further off, the softer.
        hidden = np.maximum(hidden, np.clip(above / (0.008 + 0.12 * step) - 0.25, 0, 1))
    lit = np.ones(place.shape[:2], np.float32)
    lit[front] = 1 - 0.85 * hidden
    return blur(lit, 2.2)
