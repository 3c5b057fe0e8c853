"""Colours as screen values, 0 to 1, and ways to choose some."""

from __future__ import annotations

import numpy as np

from shared.portrait.arrays import Colour

Rng = np.random.Generator

HAIR_COLOURS: tuple[Colour, ...] = (
    (0.07, 0.055, 0.05), (0.11, 0.08, 0.065), (0.17, 0.115, 0.085), (0.24, 0.16, 0.11), (0.36, 0.22, 0.13),
    (0.45, 0.32, 0.20), (0.62, 0.47, 0.30), (0.74, 0.61, 0.42), (0.47, 0.22, 0.11), (0.33, 0.13, 0.09),
)  # fmt: skip
LIP_COLOURS: tuple[Colour, ...] = (
    (0.74, 0.40, 0.38), (0.70, 0.22, 0.24), (0.55, 0.16, 0.22), (0.80, 0.46, 0.46), (0.62, 0.34, 0.32),
)  # fmt: skip
IRIS_COLOURS: tuple[Colour, ...] = (
    (0.22, 0.13, 0.08), (0.30, 0.19, 0.11), (0.38, 0.25, 0.14), (0.42, 0.36, 0.20), (0.36, 0.43, 0.32),
    (0.34, 0.45, 0.53), (0.40, 0.47, 0.51),
)  # fmt: skip


def pick(rng: Rng, colours: tuple[Colour, ...]) -> Colour:
    """Return one of `colours`."""
    return colours[int(rng.integers(len(colours)))]


def varied(rng: Rng, colour: tuple[float, ...], spread: float) -> Colour:
    """Return a colour near `colour`, brighter or darker by a share of about `spread`."""
    brighter = 1 + spread * rng.standard_normal() + 0.25 * spread * rng.standard_normal(3)
    r, g, b = np.clip(np.asarray(colour) * brighter, 0.01, 1).tolist()
    return r, g, b


def any_colour(rng: Rng, low: float = 0.05, high: float = 0.9, colourful: float = 0.3) -> Colour:
    """Return any colour: a grey from `low` to `high`, and so far away from it."""
    grey = rng.uniform(low, high)
    r, g, b = np.clip(grey * (1 + colourful * rng.uniform(-1, 1, 3)), 0.02, 0.97).tolist()
    return r, g, b
