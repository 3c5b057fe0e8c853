"""Scale of motion transferred to a larger face."""

import numpy as np
import pytest

from shared.errors import RequestError
from shared.keypoints import Floats, KeypointLayout
from shared.transfer import transfer_between

LAYOUT = KeypointLayout.of_points(10, jacobians=True)


def square(centre: float, size: float) -> Floats:
    """Keypoints whose hull is a square of side `size`; some lie inside of it."""
    corners = [(-1, -1), (-1, 1), (1, 1), (1, -1)]
    places = (
        np.array([*corners, *[(0.5 * x, 0.2 * y) for x, y in corners], (0, 0), (1, 0)]) * size / 2 + centre
    )
    return np.concatenate([places.ravel(), np.tile([1, 0, 0, 1], 10)]).astype(np.float32)


def scale(source: Floats, initial: Floats) -> float:
    """How far the first point is carried when it moves by 1."""
    moved = initial.copy()
    moved[0] += 1
    return float((transfer_between(LAYOUT, source, initial, adapt_scale=True)(moved[None])[0] - source)[0])


def test_the_adapted_scale_is_the_ratio_of_the_hulls_sides() -> None:
    assert scale(square(0.3, 0.9), square(-0.2, 0.6)) == pytest.approx(1.5)
    assert scale(square(0, 0.3), square(0, 0.6)) == pytest.approx(0.5)
    with pytest.raises(RequestError, match="leave out --adapt-scale"):
        scale(square(0, 0.3), square(0, 0.0))
