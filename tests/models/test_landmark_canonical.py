"""The canonical face: level, symmetric, and of those who look straight ahead."""

from pathlib import Path

import numpy as np
import pytest

from models.landmarks import points as landmarks
from models.landmarks.canonical import canonical, frontal
from models.landmarks.landmark_files import LandmarkFolder
from tests.drawn_face import face


def test_the_middle_of_many_faces_is_level_and_symmetric() -> None:
    random = np.random.default_rng(0)
    faces = []
    for angle in random.uniform(-0.5, 0.5, 41):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        flat = 0.5 * face() @ turn.T + random.uniform(-0.3, 0.3, 2) + random.normal(0, 0.01, (175, 2))
        faces.append(np.concatenate([flat, np.full((175, 1), 0.1)], 1))
    mesh = canonical(faces)
    np.testing.assert_allclose(mesh, mesh[landmarks.MIRROR] * [-1, 1, 1], atol=1e-6)
    assert landmarks.eye_distance(mesh[:, :2]) == pytest.approx(0.2, abs=0.01)
    wanted = 0.5 * (face() - [0, -0.2])
    np.testing.assert_allclose(mesh[:, :2], wanted, atol=0.02)
    assert mesh[:, 2] == pytest.approx(0.1, abs=0.01)


def test_turned_faces_and_missing_ones_are_not_frontal() -> None:
    faces = np.stack([face(), face(), face()])
    faces[1, landmarks.NOSE_TIP, 0] += 0.1
    faces[2] = np.nan
    assert frontal(faces).tolist() == [0]


def test_agrees_with_the_canonical_face_of_the_real_clips(finest_landmarks: Path) -> None:
    folder = LandmarkFolder.load(finest_landmarks)
    faces = np.concatenate([folder.of(name) for name in folder.clips if name.startswith("grid")])
    flat = faces[frontal(faces)]
    mesh, wanted = canonical([np.pad(one, ((0, 0), (0, 1))) for one in flat]), folder.canonical()
    apart = np.linalg.norm(mesh[:, :2] / landmarks.eye_distance(mesh[:, :2])
                           - wanted[:, :2] / landmarks.eye_distance(wanted[:, :2]), axis=1)  # fmt: skip
    assert apart.mean() < 0.1
