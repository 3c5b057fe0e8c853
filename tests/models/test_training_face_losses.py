"""Landmark losses of a rendering: emphasis, motion, stillness beside it, the closed loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from models.landmarks import points as mesh
from models.lite.detector import CANONICAL, MOUTH, face_frame
from models.lite.geometry import pixel_grid
from models.lite.network import Points
from models.training.backbones.face_losses import (
    closed_loop,
    emphasis,
    flow_loss,
    landmark_weights,
    lids_loss,
    still_loss,
)
from tests.drawn_face import face
from tests.tiny_lite import unsettled, untrained

torch.set_num_threads(1)
NOBODY = torch.full((1, mesh.COUNT, 2), torch.nan)


def seen(*faces: np.ndarray) -> Tensor:
    return torch.from_numpy(np.stack(faces).astype(np.float32))


def at(picture: Tensor, x: float, y: float) -> float:
    """Return the value of a picture (1, 1, H, W) at a place in [-1, 1]."""
    height, width = picture.shape[-2:]
    return float(picture[0, 0, int((y + 1) / 2 * height), int((x + 1) / 2 * width)])


def grid(size: int = 64) -> Tensor:
    return pixel_grid(size, size, torch.zeros(()))[None]


def test_eyes_and_mouth_count_most_then_the_face_then_the_rest() -> None:
    strength = emphasis(seen(face()), 256)
    assert strength.shape == (1, 1, 256, 256)
    for x, y in ((-0.2, -0.2), (0.2, -0.2), (0.0, 0.35)):
        assert at(strength, x, y) > 0.95
    assert at(strength, 0.0, 0.08) == pytest.approx(0.25, abs=0.02)
    assert at(strength, 0.9, -0.9) < 1e-3
    assert strength.max() <= 1
    torch.testing.assert_close(strength, strength.flip(3), atol=1e-4, rtol=0)


def test_a_closed_eye_is_not_overlooked() -> None:
    shut, beside = emphasis(seen(face(lids=0.0)), 256), (-0.2, -0.17)
    assert at(shut, *beside) > 0.8


def test_emphasis_follows_the_face_and_is_nothing_without_one() -> None:
    both = emphasis(torch.cat([seen(np.add(face(), (0.3, 0.2))), NOBODY]), 64)
    assert at(both[:1], 0.1, 0.0) > 0.95
    assert not both[1].any()


def test_irises_count_more_than_lids_and_lips_and_these_more_than_the_rest() -> None:
    weights = landmark_weights(torch.device("cpu"))
    assert {float(weights[row]) for row in mesh.RIGHT_IRIS} == {24.0}
    assert {float(weights[row]) for row in (*mesh.EYES, *mesh.LIPS)} == {4.0}
    assert weights[mesh.NOSE_TIP] == weights[mesh.CHIN] == 1


def test_the_flow_of_the_very_affine_map_costs_nothing() -> None:
    matrix, shift = torch.tensor([[0.9, -0.3], [0.2, 1.05]]), torch.tensor([0.05, -0.02])
    driving = seen(face(), 0.8 * face(lips=0.1))
    source = driving @ matrix.T + shift
    flow = (grid() @ matrix.T + shift).expand(2, 64, 64, 2)
    landmarks = torch.stack([source, driving], dim=1)
    assert flow_loss(flow, landmarks) < 1e-5
    # Off by so much everywhere, it costs that, however landmarks count.
    assert float(flow_loss(flow + torch.tensor([0.03, -0.01]), landmarks)) == pytest.approx(0.04, rel=1e-3)


def test_a_flow_wrong_at_an_iris_costs_more_than_elsewhere() -> None:
    landmarks = torch.stack([seen(face()), seen(face())], dim=1)

    def cost(row: int) -> float:
        moved = landmarks.clone()
        moved[:, 0, row] += 0.1
        return float(flow_loss(grid(), moved) - flow_loss(grid(), landmarks))

    assert cost(mesh.RIGHT_PUPIL) == pytest.approx(24 * cost(mesh.NOSE_TIP), rel=1e-3)


def test_pairs_with_an_unknown_face_say_nothing_of_the_flow() -> None:
    pair = torch.stack([seen(np.add(face(), (0.1, 0))), seen(face())], dim=1)
    half = torch.stack([NOBODY, seen(face())], dim=1)
    alone = flow_loss(grid(), pair)
    assert float(alone) == pytest.approx(0.1, rel=1e-3)
    flow = grid().repeat(2, 1, 1, 1).requires_grad_()
    both = flow_loss(flow, torch.cat([pair, half]))
    torch.testing.assert_close(both, alone)
    (gradient,) = torch.autograd.grad(both, flow)
    assert gradient[0].any()
    assert not gradient[1].any()
    assert flow_loss(grid(), half) == 0
    # Nor do landmarks that lie outside of the picture.
    outside = torch.stack([seen(face()), seen(np.add(face(), (3, 0)))], dim=1)
    assert flow_loss(grid(), outside) == 0


def test_what_looks_the_same_beside_the_face_should_stay() -> None:
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    still, moved = grid(), grid() + torch.tensor([0.1, 0.0])
    assert still_loss(still, picture, picture, seen(face())) == 0
    whole = float(still_loss(moved, picture, picture, seen(face())))
    # All but the face, at 0.1 each.
    assert 0.03 < whole < 0.09
    # What changed may have moved; what nobody knows a face in, too.
    changed = picture.clone()
    changed[..., :32] = 1 - changed[..., :32]
    assert 0.2 * whole < float(still_loss(moved, picture, changed, seen(face()))) < 0.8 * whole
    assert still_loss(moved, picture, 1 - picture, seen(face())) < 0.02 * whole
    assert still_loss(moved, picture, picture, NOBODY) == 0
    # On the face itself a flow may do what it likes.
    on_face = torch.where((grid().abs().amax(-1) < 0.1)[..., None], moved, still)
    assert still_loss(on_face, picture, picture, seen(face())) == 0


def test_the_loop_measures_eyes_and_mouth_alone() -> None:
    # A fresh detector finds the middles of its patches, at the size and tilt of the face.
    detector, frame = untrained().detector.requires_grad_(False), torch.rand(1, 3, 256, 256)
    value = torch.tensor(CANONICAL)[None] * 0.8
    value[:, MOUTH] = value[:, MOUTH].mean(1, keepdim=True)
    upright = face_frame(value)[:, None].repeat(1, 10, 1, 1)
    others = upright.clone()
    others[:, [2, 6, 8, 9]] += 0.5
    assert closed_loop(detector, frame, Points(value, others)) < 1e-5
    wider = upright.clone()
    wider[:, 1, 1, 1] += 0.3
    assert float(closed_loop(detector, frame, Points(value, wider))) == pytest.approx(0.3 / 24, rel=1e-3)
    # The corners and the lips lie apart again: each is so far from the mouth's middle.
    apart = value.clone()
    apart[:, MOUTH, 0] += torch.tensor([-0.06, 0.06, 0.0, 0.0])
    off = float(closed_loop(detector, frame, Points(apart, face_frame(apart)[:, None].repeat(1, 10, 1, 1))))
    assert off == pytest.approx(4 * 0.12 / 12, rel=1e-3)


def test_the_loop_teaches_the_frame_and_neither_detector_nor_points() -> None:
    detector = unsettled().detector.requires_grad_(False)
    frame = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0)).requires_grad_()
    driving = Points(*(tensor.requires_grad_() for tensor in detector(frame.detach())))
    closed_loop(detector, frame, driving).backward()
    assert frame.grad is not None
    assert frame.grad.abs().sum() > 0
    assert driving.value.grad is None
    assert driving.jacobian.grad is None
    assert all(parameter.grad is None for parameter in detector.parameters())


def test_lids_are_where_their_landmarks_are() -> None:
    faces = torch.from_numpy(np.stack([face(), face(gaze=0.8)]).astype(np.float32))
    faces = torch.cat([faces, torch.full_like(faces[:1], torch.nan)])
    value = torch.zeros(3, 12, 2)
    value[:, 0], value[:, 1] = torch.tensor([-0.2, -0.2]), torch.tensor([0.2, -0.2])
    assert float(lids_loss(Points(value, torch.eye(2).expand(3, 12, 2, 2)), faces)) == pytest.approx(
        0, abs=0.01
    )
    value[0, 0, 0] += 0.4
    # One of eight numbers of the two known faces.
    there = float(lids_loss(Points(value, torch.eye(2).expand(3, 12, 2, 2)), faces))
    assert there == pytest.approx(0.05, abs=0.01)
