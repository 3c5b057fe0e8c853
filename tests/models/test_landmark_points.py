"""The kept landmarks: names, mirror, and the openings that are read off them."""

from pathlib import Path

import numpy as np
import pytest

from models.landmarks import points as landmarks
from models.landmarks.landmark_files import LandmarkFolder
from tests.drawn_face import face

PARTS = ("EYES", "LIPS", "UPPER_LIP", "LOWER_LIP", "RIGHT_CORNER", "LEFT_CORNER", "NOSE", "BROW", "JAW")


def test_rows_are_the_places_of_their_numbers() -> None:
    assert landmarks.COUNT == 175
    assert [landmarks.NUMBERS[row] for row in landmarks.rows(468, 10, 477)] == [468, 10, 477]
    with pytest.raises(KeyError):
        landmarks.rows(3)


def test_every_part_has_each_of_its_points_once() -> None:
    for name in PARTS:
        part = getattr(landmarks, name)
        assert len(set(part.tolist())) == len(part) > 10


def test_the_mirror_swaps_the_sides() -> None:
    assert (landmarks.MIRROR[landmarks.MIRROR] == np.arange(175)).all()
    for one, other in (
        (landmarks.RIGHT_EYE, landmarks.LEFT_EYE),
        (landmarks.RIGHT_IRIS, landmarks.LEFT_IRIS),
        (landmarks.RIGHT_CORNER, landmarks.LEFT_CORNER),
    ):
        assert set(landmarks.MIRROR[one].tolist()) == set(other.tolist())
    for part in (landmarks.LIPS, landmarks.UPPER_LIP, landmarks.LOWER_LIP, landmarks.NOSE, landmarks.BROW):
        assert set(landmarks.MIRROR[part].tolist()) == set(part.tolist())
    for row in (landmarks.CHIN, landmarks.NOSE_TIP, landmarks.FOREHEAD):
        assert landmarks.MIRROR[row] == row


def test_a_mirrored_face_looks_the_other_way() -> None:
    seen = face(lips=0.1, lids=0.2, gaze=0.3)
    assert landmarks.openings(landmarks.mirrored(seen)) == pytest.approx([0.1, 0.2, 0.7], abs=1e-6)


@pytest.mark.parametrize("wanted", [(0.0, 0.3, 0.5), (0.2, 0.0, 0.1), (0.05, 0.15, 0.9)])
def test_openings_are_free_of_place_size_and_angle(wanted: tuple[float, float, float]) -> None:
    seen = face(*wanted)
    angle = np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    both = np.stack([seen, 0.3 * seen @ angle.T + [0.2, -0.4]])
    assert landmarks.openings(both) == pytest.approx(np.array([wanted, wanted]), abs=1e-5)
    assert landmarks.eye_distance(both) == pytest.approx([0.4, 0.12], abs=1e-5)


def test_no_face_has_no_openings_and_no_size_divides_by_zero() -> None:
    assert np.isnan(landmarks.openings(np.full((2, 175, 2), np.nan))).all()
    assert np.isfinite(landmarks.openings(np.zeros((175, 2)))).all()


def test_the_real_face_is_as_the_names_say(finest_landmarks: Path) -> None:
    mesh = LandmarkFolder.load(finest_landmarks).canonical()
    assert np.abs(mesh[landmarks.MIRROR] * [-1, 1, 1] - mesh).max() < 1e-5
    x, y = mesh[:, 0], mesh[:, 1]
    assert x[landmarks.RIGHT_PUPIL] < x[landmarks.NOSE_TIP] < x[landmarks.LEFT_PUPIL]
    assert y[landmarks.FOREHEAD] < y[landmarks.RIGHT_EYE].mean() < y[landmarks.NOSE_TIP]
    assert y[landmarks.NOSE_TIP] < y[landmarks.UPPER_LIP_TOP] < y[landmarks.LOWER_LIP_BOTTOM]
    assert y[landmarks.LOWER_LIP_BOTTOM] < y[landmarks.CHIN]
    lips, lids, gaze = landmarks.openings(mesh[:, :2])
    assert 0 < lips < 0.05
    assert 0.2 < lids < 0.5
    assert gaze == pytest.approx(0.5, abs=1e-4)
