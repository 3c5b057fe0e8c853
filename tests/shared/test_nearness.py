import numpy as np
import pytest
from numpy.testing import assert_allclose

from shared.keypoints import DIMENSIONS, POSITIONS
from shared.nearness import JACOBIAN_WEIGHT, distance, quadratic

RANDOM = np.random.default_rng(0)
MEMBERS = RANDOM.standard_normal((5, DIMENSIONS)).astype(np.float32)


def test_points_that_have_all_moved_by_so_much_are_so_far_apart() -> None:
    frame = MEMBERS[0].copy()
    frame[:POSITIONS:2] += 0.3
    frame[1:POSITIONS:2] -= 0.4
    assert distance(MEMBERS[:1], frame)[0] == pytest.approx(0.5, abs=1e-6)


def test_a_picture_is_no_distance_from_itself() -> None:
    assert distance(MEMBERS, MEMBERS[3])[3] == 0
    assert (np.delete(distance(MEMBERS, MEMBERS[3]), 3) > 0.5).all()


def test_the_matrix_of_the_plain_distance_is_diagonal() -> None:
    weights = np.where(np.arange(DIMENSIONS) < POSITIONS, 1, JACOBIAN_WEIGHT) / (POSITIONS // 2)
    metric = quadratic(np.diag(weights).astype(np.float32))
    assert_allclose(metric(MEMBERS, MEMBERS[0]), distance(MEMBERS, MEMBERS[0]), atol=1e-5)


def test_a_matrix_of_rank_one_gives_no_nan() -> None:
    direction = RANDOM.standard_normal(DIMENSIONS).astype(np.float32)
    metric = quadratic(np.outer(direction, direction))
    across = MEMBERS - np.outer(MEMBERS @ direction, direction) / (direction @ direction)
    assert np.isfinite(metric(across, np.zeros(DIMENSIONS, np.float32))).all()


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="not"):
        quadratic(np.eye(20, dtype=np.float32))
