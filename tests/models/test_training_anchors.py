import pytest
import torch

from models.training.anchors import anchor_loss, anchor_points, emphasis, separation_loss

MARKS = torch.tensor([[[-0.2, -0.2], [0.2, -0.2], [0.0, 0.0], [-0.15, 0.2], [0.15, 0.2]]])
UNKNOWN = torch.full_like(MARKS, torch.nan)


def test_anchors_are_on_the_marks_and_around_the_face() -> None:
    points = anchor_points(MARKS)[0]
    torch.testing.assert_close(points[:5], MARKS[0])
    lip, crown, right, left, neck = points[5:]
    torch.testing.assert_close(lip, torch.tensor([0.0, 0.32]))
    torch.testing.assert_close(crown, torch.tensor([0.0, -0.72]))
    assert right[0] < -0.5 < 0.5 < left[0]
    assert right[1] == left[1] > neck[1] > lip[1]


def test_anchors_turn_with_the_face_and_stay_in_the_picture() -> None:
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    torch.testing.assert_close(anchor_points(MARKS @ turn.T)[0, 5], turn @ anchor_points(MARKS)[0, 5])
    assert anchor_points(3 * MARKS)[0, 5:].abs().max() <= 0.93


def test_points_are_free_near_their_anchors_and_pulled_from_afar() -> None:
    there = anchor_points(MARKS)
    assert anchor_loss(there + 0.02, MARKS) == 0
    far = (there + torch.tensor([0.3, 0.0])).requires_grad_()
    loss = anchor_loss(far, MARKS)
    loss.backward()
    assert loss > 0.1
    assert far.grad is not None
    assert (far.grad[..., 0] >= 0).all()
    assert (far.grad[0, :5, 0] > 0).all()


def test_unknown_faces_are_left_out() -> None:
    there = anchor_points(MARKS)
    both = torch.cat([there + 0.5, there])
    assert anchor_loss(both, torch.cat([UNKNOWN, MARKS])) == 0
    alone = (there + 0.5).requires_grad_()
    anchor_loss(alone, UNKNOWN).backward()
    assert alone.grad is not None
    assert not alone.grad.any()


def test_points_at_one_place_are_pushed_apart_and_distant_ones_left() -> None:
    assert separation_loss(torch.zeros(2, 10, 2)) == pytest.approx(1, abs=0.01)
    spread = torch.linspace(-0.9, 0.9, 10).repeat(2, 1)[..., None].expand(2, 10, 2)
    assert separation_loss(spread) == 0
    near = torch.tensor([[[0.0, 0.0], [0.03, 0.0]]]).requires_grad_()
    separation_loss(near).backward()
    assert near.grad is not None
    assert near.grad[0, 0, 0] > 0 > near.grad[0, 1, 0]


def test_eyes_and_mouth_are_emphasised() -> None:
    strength = emphasis(torch.cat([MARKS, UNKNOWN]), 256)
    assert strength.shape == (2, 1, 256, 256)
    at = {
        name: float(strength[0, 0, int(128 * (1 + y)), int(128 * (1 + x))])
        for name, (x, y) in {
            "eye": (-0.2, -0.2),
            "mouth": (0, 0.2),
            "chin": (0, 0.5),
            "far": (-0.95, -0.95),
        }.items()
    }
    assert at["eye"] > 0.95
    assert at["mouth"] > 0.95
    assert 0.02 < at["chin"] < 0.35
    assert at["far"] < 1e-3
    assert not strength[1].any()
