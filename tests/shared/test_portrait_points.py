"""Landmarks of drawn faces keep to what the numbers of the mesh mean, and move as the pose does."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from shared.portrait.looks import Looks
from shared.portrait.points import NUMBERS
from shared.portrait.portrait import landmarks
from shared.portrait.pose import Pose

Marks = npt.NDArray[np.float32]
UPPER_LIDS = (246, 161, 160, 159, 158, 157, 173)
LOWER_LIDS = (33, 7, 163, 144, 145, 153, 154, 155, 133)
INNER_LIPS = ((82, 87), (81, 178), (80, 88), (13, 14), (312, 317), (311, 402), (310, 318))


def at(marks: Marks, number: int) -> Marks:
    place: Marks = marks[NUMBERS.index(number)]
    return place


def gap(marks: Marks, upper: int, lower: int) -> float:
    return float(np.linalg.norm(at(marks, upper) - at(marks, lower)))


def test_numbers_are_those_of_the_mesh_in_order() -> None:
    assert len(NUMBERS) == 175
    assert list(NUMBERS) == sorted(set(NUMBERS))
    assert NUMBERS[-1] == 477


def test_right_is_the_subjects_right() -> None:
    marks = landmarks(Looks(), Pose())
    for right, left in ((33, 263), (468, 473), (61, 291), (234, 454), (70, 300)):
        assert at(marks, right)[0] < at(marks, left)[0]
        assert at(marks, right)[0] == pytest.approx(-at(marks, left)[0], abs=1e-5)
        assert at(marks, right)[1] == pytest.approx(at(marks, left)[1], abs=1e-5)


def test_a_face_is_in_order_from_top_to_bottom() -> None:
    marks = landmarks(Looks(), Pose())
    middle = (10, 151, 9, 168, 6, 197, 5, 4, 1, 2, 0, 13, 17, 200, 199, 152)
    down = [at(marks, number)[1] for number in middle]
    assert down == sorted(down)


def test_shut_lids_meet_and_shut_lips_meet() -> None:
    marks = landmarks(Looks(), Pose(blink=1, yaw=0.3))
    line = np.array([at(marks, number) for number in LOWER_LIDS])
    for number in UPPER_LIDS:
        x, y = at(marks, number)
        assert np.interp(x, line[:, 0], line[:, 1]) == pytest.approx(y, abs=0.005)
    for upper, lower in INNER_LIPS:
        assert gap(marks, upper, lower) < 1e-5


def test_openings_grow_with_mouth_and_shrink_with_blink() -> None:
    lips = [gap(landmarks(Looks(), Pose(mouth=m)), 13, 14) for m in (0, 0.3, 0.6, 1)]
    lids = [gap(landmarks(Looks(), Pose(blink=b)), 159, 145) for b in (0, 0.3, 0.6, 1)]
    assert lips == sorted(lips)
    assert lips[-1] > 0.12
    assert lids == sorted(lids, reverse=True)
    assert lids[0] > 0.04


def test_irises_look_where_the_gaze_says_and_lids_go_along_downwards() -> None:
    ahead, aside = landmarks(Looks(), Pose()), landmarks(Looks(), Pose(gaze=(0.8, 0.0)))
    for centre in (468, 473):
        assert at(aside, centre)[0] > at(ahead, centre)[0] + 0.02
        ring = [at(aside, centre + i) - at(aside, centre) for i in range(1, 5)]
        assert np.argmax([r[0] for r in ring]) == 0
        assert np.argmin([r[1] for r in ring]) == 1
    down = landmarks(Looks(), Pose(gaze=(0.0, 0.9)))
    assert at(down, 159)[1] > at(ahead, 159)[1]


@pytest.mark.parametrize(("pose", "axis"), [(Pose(yaw=0.3), 0), (Pose(pitch=0.3), 1)])
def test_the_nose_goes_furthest_when_the_head_turns(pose: Pose, axis: int) -> None:
    moved = (landmarks(Looks(), pose) - landmarks(Looks(), Pose()))[:, axis]
    assert moved[NUMBERS.index(4)] == pytest.approx(moved.max(), abs=0.03)
    assert moved[NUMBERS.index(4)] > moved[NUMBERS.index(234)] + 0.05


def test_smiling_widens_and_pursing_narrows_the_mouth() -> None:
    wide = [gap(landmarks(Looks(), Pose(smile=s)), 61, 291) for s in (-1, 0, 1)]
    assert wide[0] < 0.8 * wide[1]
    assert wide[2] > 1.15 * wide[1]
