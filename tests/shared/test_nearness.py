import numpy as np
import pytest

from shared.keypoints import DIMENSIONS, POSITIONS
from shared.nearness import distance

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
