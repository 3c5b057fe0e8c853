"""Size of a set of points: the area or the volume of its convex hull."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from shared.keypoints import Floats

# Of the points' extent: what a point may lie outside of a facet by rounding.
_ROUNDING = 1e-9


def area(points: Floats) -> float:
    """Return the area of the convex hull of `points` (K, 2); 0 where they lie on a line."""
    if len(points) < 3:
        return 0.0
    ordered = sorted({(float(x), float(y)) for x, y in points})
    lower, upper = _chain(ordered), _chain(ordered[::-1])
    corners = np.array([*lower[:-1], *upper[:-1]]).reshape(-1, 2)
    (x, y), (next_x, next_y) = corners.T, np.roll(corners, -1, axis=0).T
    return float(abs(x @ next_y - y @ next_x)) / 2


def volume(points: Floats) -> float:
    """Return the volume of the convex hull of `points` (K, 3), no four of whose facets' points in a plane.

    Every triple of points is looked at: a facet is one that has all points on one side. That is for the few
    keypoints of a face; it takes some K^4 / 6 products.
    """
    if len(points) < 4:
        return 0.0
    exact = points.astype(np.float64)
    triples = exact[list(combinations(range(len(exact)), 3))]
    corner = triples[:, 0]
    normals = np.cross(triples[:, 1] - corner, triples[:, 2] - corner)
    heights = normals @ exact.T - np.sum(normals * corner, axis=1)[:, None]
    slack = _ROUNDING * np.ptp(exact, axis=0).max() ** 3
    facets = (heights <= slack).all(axis=1) | (heights >= -slack).all(axis=1)
    # Each facet is the base of a pyramid whose tip is the mean of all points, inside.
    return float(np.abs(heights.mean(axis=1))[facets].sum()) / 6


def _chain(ordered: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the half of the hull to the right of the way along `ordered` points."""
    kept: list[tuple[float, float]] = []
    for x, y in ordered:
        while len(kept) > 1 and not _turns_left(kept[-2], kept[-1], (x, y)):
            kept.pop()
        kept.append((x, y))
    return kept


def _turns_left(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    return (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0]) > 0
