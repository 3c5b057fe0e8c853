import numpy as np
import pytest

from models.lite.layout import DIMENSIONS, LAYOUT, POSITIONS
from shared.keypoints import Group, KeypointLayout

RANDOM = np.random.default_rng(0)
MEMBERS = RANDOM.standard_normal((5, DIMENSIONS)).astype(np.float32)
HEAD = KeypointLayout((Group.numbers(1, 3, weight=0.25), Group.numbers(1, 3), Group.numbers(15, 3)))


def test_a_layout_says_how_many_numbers_and_keypoints_a_frame_has() -> None:
    assert (LAYOUT.dimensions, LAYOUT.keypoints) == (60, 10)
    plate = KeypointLayout.of_points(50)
    assert (plate.dimensions, plate.keypoints) == (100, 50)
    assert (HEAD.dimensions, HEAD.keypoints) == (51, 15)


@pytest.mark.parametrize("groups", [(), (Group.points(0),), (Group.points(501),), (Group.numbers(3, 0),)])
def test_a_layout_without_numbers_or_with_too_many_is_none(groups: tuple[Group, ...]) -> None:
    with pytest.raises(ValueError, match="numbers"):
        KeypointLayout(groups)


def test_layouts_are_values() -> None:
    assert KeypointLayout.of_points(10, jacobians=True) == LAYOUT
    assert len({LAYOUT, KeypointLayout.of_points(10, jacobians=True), HEAD}) == 2
    with pytest.raises(ValueError, match="read-only"):
        LAYOUT.reach[0] = 1


def test_positions_are_those_of_all_points_wherever_they_lie() -> None:
    layout = KeypointLayout((Group.numbers(1), Group.points(1), Group.jacobians(1), Group.points(1)))
    frames = np.arange(2 * layout.dimensions, dtype=np.float32).reshape(2, -1)
    np.testing.assert_array_equal(layout.positions(frames), [[[1, 2], [7, 8]], [[10, 11], [16, 17]]])
    assert HEAD.positions(np.zeros((4, 51), np.float32)).shape == (4, 0, 2)


def test_points_that_have_all_moved_by_so_much_are_so_far_apart() -> None:
    frame = MEMBERS[0].copy()
    frame[:POSITIONS:2] += 0.3
    frame[1:POSITIONS:2] -= 0.4
    assert LAYOUT.distance(MEMBERS[:1], frame)[0] == pytest.approx(0.5, abs=1e-6)


def test_a_picture_is_no_distance_from_itself() -> None:
    far = LAYOUT.distance(MEMBERS, MEMBERS[3])
    assert far.dtype == np.float32
    assert far[3] == 0
    assert (np.delete(far, 3) > 0.5).all()


def test_each_group_counts_by_its_weight_whatever_its_size() -> None:
    still = np.zeros((1, 51), np.float32)
    turned, moved = still[0].copy(), still[0].copy()
    turned[0], moved[6::3] = 1, 1
    assert HEAD.distance(still, turned)[0] == pytest.approx(0.5)
    assert HEAD.distance(still, moved)[0] == pytest.approx(1)


def test_transfer_carries_motion_over_to_another_picture() -> None:
    source, initial, driving = MEMBERS[0], MEMBERS[1], MEMBERS[2:4]
    moved = LAYOUT.transfer(source, driving, initial, scale=2.0)
    places = source[:POSITIONS] + 2 * (driving[:, :POSITIONS] - initial[:POSITIONS])
    np.testing.assert_allclose(moved[:, :POSITIONS], places, atol=1e-5)
    for frame, wanted in zip(moved, driving, strict=True):
        for n in range(POSITIONS, DIMENSIONS, 4):
            s, d, d0 = (part[n : n + 4].reshape(2, 2) for part in (source, wanted, initial))
            np.testing.assert_allclose(frame[n : n + 4].reshape(2, 2), d @ np.linalg.inv(d0) @ s, atol=1e-3)


def test_what_has_not_moved_is_not_moved() -> None:
    np.testing.assert_allclose(
        LAYOUT.transfer(MEMBERS[0], MEMBERS[1:2], MEMBERS[1])[0], MEMBERS[0], atol=1e-4
    )


def test_numbers_add_up_at_any_scale_of_points() -> None:
    source, driving, initial = RANDOM.standard_normal((3, 51)).astype(np.float32)
    moved = HEAD.transfer(source, driving[None], initial, scale=3.0)
    np.testing.assert_allclose(moved[0], source + driving - initial, atol=1e-6)


def test_a_first_frame_that_cannot_be_inverted_leaves_transfer_finite() -> None:
    moved = LAYOUT.transfer(MEMBERS[0], MEMBERS[1:2], np.zeros(DIMENSIONS, np.float32))
    assert np.isfinite(moved).all()
