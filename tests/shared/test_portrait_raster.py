"""Triangles cover the pixels whose centres lie in them, and the nearest one is seen."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from shared.portrait.raster import cover

SIZE = 24


def triangles(count: int, seed: int) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-4, SIZE + 4, (count, 3, 3)).astype(np.float32)
    corners[..., 2] = rng.uniform(-1, 1, (count, 3))
    return corners


def weights(corner: npt.NDArray[np.float32], x: float, y: float) -> npt.NDArray[np.float64]:
    """Return the weights of the corners at a place."""
    solved = np.linalg.solve(np.vstack([corner[:, :2].T, np.ones(3)]).astype(float), [x, y, 1.0])
    return np.asarray(solved, np.float64)


@pytest.mark.parametrize("seed", range(5))
def test_covers_what_a_slow_search_finds(seed: int) -> None:
    corners = triangles(6, seed)
    lines = cover(corners, SIZE, np.ones(6, bool))
    fragments = lines.fragments(np.arange(len(lines.line)))
    found = set(zip(fragments.face.tolist(), fragments.pixel.tolist(), strict=True))
    wanted, doubtful = set(), set()
    for face, corner in enumerate(corners):
        for pixel in range(SIZE * SIZE):
            least = weights(corner, pixel % SIZE + 0.5, pixel // SIZE + 0.5).min()
            if least > 1e-4:
                wanted.add((face, pixel))
            elif least > -1e-4:
                doubtful.add((face, pixel))
    assert len(wanted) > 50
    assert wanted <= found <= wanted | doubtful


def test_values_are_blended_between_the_corners() -> None:
    corners = triangles(4, 7)
    lines = cover(corners, SIZE, np.ones(4, bool))
    fragments = lines.fragments(np.arange(len(lines.line)))
    place = fragments.blend(corners.reshape(-1, 3), np.arange(12).reshape(4, 3))
    np.testing.assert_allclose(place[0], fragments.pixel % SIZE + 0.5, atol=1e-3)
    np.testing.assert_allclose(place[1], fragments.pixel // SIZE + 0.5, atol=1e-3)
    np.testing.assert_allclose(place[2], lines.near, atol=1e-4)


def test_the_nearest_is_seen_unless_it_has_a_gap_there() -> None:
    square = np.array([[0, 0, 0], [SIZE, 0, 0], [SIZE, SIZE, 0]], np.float32)
    corners = np.stack([square] * 3)
    corners[..., 2] = np.array([[0.1], [0.9], [0.5]])
    lines = cover(corners, SIZE, np.zeros(3, bool))
    seen = lines.fragments(lines.nearest())
    assert set(seen.face) == {1}
    assert len(set(seen.pixel)) == len(seen.pixel) > SIZE * SIZE / 3
    solid = lines.face[lines.line] != 1
    assert set(lines.fragments(lines.nearest(solid)).face) == {2}


def test_backs_are_seen_only_where_both_sides_are() -> None:
    away = np.array([[[0, 0, 0], [SIZE, SIZE, 0], [SIZE, 0, 0]]], np.float32)
    assert len(cover(away, SIZE, np.zeros(1, bool)).line) == 0
    assert len(cover(away, SIZE, np.ones(1, bool)).line) > SIZE
