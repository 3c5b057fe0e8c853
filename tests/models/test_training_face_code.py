"""The ten points of a face: places and Jacobians that follow from landmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.landmarks import points as mesh
from models.landmarks.landmark_files import LandmarkFolder
from models.lite.detector import CANONICAL, TORSO
from models.lite.structures import Points
from models.training.backbones.face_code import LABELLED, FaceCode
from tests.drawn_face import face

torch.set_num_threads(1)
RIGHT_EYE, LEFT_EYE, NOSE = 0, 1, 2
IDENTITY = torch.eye(2)


def canonical() -> np.ndarray:
    return np.pad(face(), ((0, 0), (0, 1)))


def code() -> FaceCode:
    return FaceCode(canonical())


def seen(*faces: np.ndarray) -> Tensor:
    return torch.from_numpy(np.stack(faces).astype(np.float32))


def found(landmarks: Tensor) -> Points:
    """Return what a perfect detector finds (B, 10): the labelled points, and the torso anywhere."""
    labelled = code().points(torch.nan_to_num(landmarks))
    value, jacobian = torch.full((len(landmarks), 10, 2), 0.3), IDENTITY.repeat(len(landmarks), 10, 1, 1)
    value[:, list(LABELLED)], jacobian[:, list(LABELLED)] = labelled
    return Points(value, jacobian)


def test_the_canonical_face_has_its_own_points_and_identities() -> None:
    points = code().points(seen(face()))
    assert points.value.shape == (1, 9, 2)
    torch.testing.assert_close(points.jacobian, IDENTITY.expand(1, 9, 2, 2), atol=1e-4, rtol=0)
    rows = [mesh.RIGHT_PUPIL, mesh.LEFT_PUPIL, mesh.NOSE_TIP, mesh.RIGHT_MOUTH, mesh.LEFT_MOUTH]
    np.testing.assert_allclose(points.value[0, :5], face()[rows], atol=1e-6)
    # Forehead and chin; lips lie between the ends of what they are the middle of.
    np.testing.assert_allclose(points.value[0, [6, 8]], face()[[mesh.FOREHEAD, mesh.CHIN]], atol=1e-6)
    lower, upper = points.value[0, 5], points.value[0, 7]
    np.testing.assert_allclose([lower[0], upper[0]], 0, atol=1e-6)
    assert 0.35 < lower[1] < 0.43
    assert 0.27 < upper[1] < 0.35


def test_a_similarity_of_the_landmarks_is_that_similarity_of_the_points() -> None:
    cos, sin = 0.7 * np.cos(0.4), 0.7 * np.sin(0.4)
    matrix, shift = np.array([[cos, -sin], [sin, cos]]), np.array([0.2, -0.1])
    plain, moved = code().points(seen(face(), face() @ matrix.T + shift)).value
    turn = torch.from_numpy(matrix).float()
    np.testing.assert_allclose(moved, plain @ turn.T + torch.from_numpy(shift), atol=1e-5)
    jacobian = code().points(seen(face() @ matrix.T + shift)).jacobian
    torch.testing.assert_close(jacobian, turn.expand(1, 9, 2, 2), atol=1e-4, rtol=0)


@pytest.mark.parametrize("lids", [0.0, 0.1, 0.45])
def test_lids_open_and_close_with_the_eyes_jacobians(lids: float) -> None:
    jacobian = code().points(seen(face(lids=lids))).jacobian[0]
    # As wide as ever, and open by so much of what is usual.
    expected = torch.diag(torch.tensor([1.0, lids / 0.3]))
    torch.testing.assert_close(jacobian[:2], expected.expand(2, 2, 2), atol=1e-4, rtol=0)
    torch.testing.assert_close(jacobian[2:], IDENTITY.expand(7, 2, 2), atol=1e-4, rtol=0)


def test_opening_lips_part_and_the_gaze_moves_the_eyes() -> None:
    shut, wide = code().points(seen(face(), face(lips=0.1))).value
    assert wide[5, 1] - shut[5, 1] > 0.04
    assert shut[7, 1] - wide[7, 1] > 0.04
    aside = code().points(seen(face(gaze=0.8))).value[0]
    torch.testing.assert_close(aside[:2] - shut[:2], torch.tensor([[0.06, 0.0]] * 2), atol=1e-5, rtol=0)
    torch.testing.assert_close(aside[2:], shut[2:], atol=1e-5, rtol=0)


def test_a_mirrored_face_has_mirrored_points() -> None:
    plain = code().points(seen(face(lips=0.05, lids=0.2, gaze=0.3)))
    other = code().points(seen(mesh.mirrored(face(lips=0.05, lids=0.2, gaze=0.3))))
    sides, mirror = [1, 0, 2, 4, 3, 5, 6, 7, 8], torch.diag(torch.tensor([-1.0, 1.0]))
    torch.testing.assert_close(other.value, plain.value[:, sides] @ mirror, atol=1e-5, rtol=0)
    torch.testing.assert_close(other.jacobian, mirror @ plain.jacobian[:, sides] @ mirror, atol=1e-4, rtol=0)


def test_what_is_right_costs_nothing_wherever_the_torso_is() -> None:
    landmarks = seen(face(), 0.5 * face(lids=0.1))
    losses = torch.stack(code().losses(found(landmarks), landmarks))
    torch.testing.assert_close(losses, torch.zeros(2), atol=1e-5, rtol=0)


def test_a_point_that_is_off_costs_what_it_is_off_and_an_eye_twice() -> None:
    landmarks = seen(face())
    for point, weight in ((NOSE, 1), (RIGHT_EYE, 2), (LEFT_EYE, 2)):
        points = found(landmarks)
        points.value[:, point, 0] += 0.1
        points.jacobian[:, point, 1, 1] += 0.2
        value, jacobian = code().losses(points, landmarks)
        # Of nine labelled points two count twice: eleven.
        assert float(value) == pytest.approx(weight * 0.05 / 11, rel=1e-3)
        assert float(jacobian) == pytest.approx(weight * 0.05 / 11, rel=1e-3)
    # No Jacobian of one bad label outweighs all the others.
    points.jacobian[:, NOSE] += 1000
    assert float(code().losses(points, landmarks)[1]) < 0.3


def test_unknown_faces_and_those_far_outside_cost_nothing() -> None:
    known, missing = seen(face()), torch.full((1, mesh.COUNT, 2), torch.nan)
    points = found(known)
    points.value[:, NOSE] += 0.1
    points.jacobian[:, NOSE] += 0.1
    alone = torch.stack(code().losses(points, known))
    outside = known + torch.tensor([1.5, 0.0])
    for other in (missing, outside):
        both = Points(points.value.repeat(2, 1, 1), points.jacobian.repeat(2, 1, 1, 1))
        both = Points(both.value.requires_grad_(), both.jacobian.requires_grad_())
        losses = torch.stack(code().losses(both, torch.cat([known, other])))
        torch.testing.assert_close(2 * losses, alone)
        gradients = torch.autograd.grad(losses.sum(), both)
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
        assert all(gradient[0].any() and not gradient[1].any() for gradient in gradients)


def test_a_point_outside_of_the_picture_is_not_looked_for() -> None:
    # The chin is below the border; its part of the face is not far outside.
    landmarks = seen(np.add(face(), (0, 0.5)))
    assert landmarks[0, mesh.CHIN, 1] > 1
    points = found(landmarks)
    points.value[:, 9] += 0.5
    assert code().losses(points, landmarks)[0] < 1e-6
    points.jacobian[:, 9] += 0.5
    assert code().losses(points, landmarks)[1] > 0.01


def test_landmarks_keep_their_precision_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        half = code().points(seen(face()))
    for one, other in zip(half, code().points(seen(face())), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_the_code_adds_nothing_to_a_checkpoint() -> None:
    assert not code().state_dict()
    assert not list(code().parameters())


def test_the_detectors_typical_face_is_the_canonical_one(finest_landmarks: Path) -> None:
    mesh_of_faces = LandmarkFolder.load(finest_landmarks).canonical()
    points = FaceCode(mesh_of_faces).points(torch.from_numpy(mesh_of_faces[None, :, :2]))
    typical = torch.tensor([place for point, place in enumerate(CANONICAL) if point != TORSO])
    torch.testing.assert_close(points.value[0], typical, atol=2e-4, rtol=0)
    torch.testing.assert_close(points.jacobian[0], IDENTITY.expand(9, 2, 2), atol=1e-3, rtol=0)
