from itertools import product

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from shared.hulls import area, volume


@pytest.mark.parametrize("seed", range(5))
def test_they_agree_with_another_implementation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    flat, deep = rng.normal(size=(50, 2)).astype(np.float32), rng.normal(size=(15, 3)).astype(np.float32)
    assert area(flat) == pytest.approx(ConvexHull(flat).volume, rel=1e-6)
    assert volume(deep) == pytest.approx(ConvexHull(deep).volume, rel=1e-6)


def test_known_shapes() -> None:
    square = np.array([*product((0, 2), (0, 2)), (1, 1), (1, 0), (2, 2)], np.float32)
    assert area(square) == 4
    corner = np.array([(0, 0, 0), (1, 0, 0), (0, 2, 0), (0, 0, 3), (0.1, 0.1, 0.1)], np.float32)
    assert volume(corner) == pytest.approx(1)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_what_is_flat_has_no_size(count: int) -> None:
    line = np.linspace(0, 1, count, dtype=np.float32)
    assert area(np.stack([line, 2 * line], axis=1)) == pytest.approx(0, abs=1e-6)
    assert volume(np.stack([line, line, line**2], axis=1)) == pytest.approx(0, abs=1e-6)
