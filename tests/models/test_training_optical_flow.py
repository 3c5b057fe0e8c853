"""Motion of clothes and hair by optical flow: what is seen, what is trusted, what a torso learns."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from models.lite.detector import TORSO
from models.lite.geometry import pixel_grid
from models.lite.network import Points
from models.training.backbones import backbone_command
from models.training.backbones.lite import LiteObjective
from models.training.backbones.optical_flow import (
    BodyMotion,
    Seen,
    body_motion,
    seen_flow,
    seen_loss,
    torso_loss,
)
from models.training.data.changes import Move, moved
from shared.errors import RequestError
from shared.keypoints import Pictures
from tests.models.test_training_recipes import options
from tests.tiny_lite import TINY, untrained

torch.set_num_threads(1)
STILL = pixel_grid(64, 64, torch.zeros(()))
CHIN, HEIGHT = torch.tensor([[0.0, 0.1]]), torch.tensor([0.4])
FACE = torch.tensor([True])


def cloth(seed: int = 0) -> Pictures:
    """A picture of blots, about eight pixels wide."""
    noise = np.random.default_rng(seed).normal(size=(256, 256, 3)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 4)
    return np.asarray(np.clip(128 + 60 * soft / soft.std(), 0, 255), np.uint8)


def tensor(picture: Pictures) -> Tensor:
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255


def turned(angle: float, x: float, y: float) -> Move:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, x], [sin, cos, y]])


def carried(move: Move, place: Tensor) -> Tensor:
    matrix = torch.from_numpy(move).float()
    return (matrix[:, :2] * place[..., None, :]).sum(-1) + matrix[:, 2]


def test_flow_points_to_where_things_were_in_the_source() -> None:
    driving, move = cloth(), turned(0.05, 0.06, -0.03)
    # What is at z in the driving picture is at A z + b in the source.
    seen = seen_flow(tensor(moved(driving, move)), tensor(driving))
    wanted = carried(move, STILL)
    inner = wanted.abs().amax(-1) < 0.9
    assert float((seen.trust > 0)[0][inner].float().mean()) > 0.95
    off = (seen.flow[0] - wanted).norm(dim=-1)[inner & (seen.trust[0] > 0)]
    # A pixel of the picture is 0.008.
    assert float(off.mean()) < 0.004
    # What was outside of the source is not known.
    assert float(seen.trust[0][wanted.abs().amax(-1) > 1].max()) == 0


def test_what_is_nowhere_in_the_source_is_not_trusted() -> None:
    source = cloth()
    driving = source.copy()
    driving[96:160, 96:160] = cloth(1)[:64, :64]
    trust = seen_flow(tensor(source), tensor(driving)).trust[0]
    assert float((trust[26:38, 26:38] > 0).float().mean()) < 0.3
    assert float((trust[:20] > 0).float().mean()) > 0.95
    # Flat places say little, and are trusted little.
    flat = np.full_like(source, 90)
    assert float(seen_flow(tensor(flat), tensor(flat)).trust.max()) < 0.06


def test_a_flow_costs_what_it_is_off_where_something_is_seen() -> None:
    trust = torch.zeros(1, 64, 64)
    trust[:, :32] = 0.5
    seen = Seen(STILL[None], trust)
    assert float(seen_loss(STILL[None], seen)) == 0
    assert float(seen_loss(STILL[None] + 0.05, seen)) == pytest.approx(0.1)
    below = STILL[None].clone()
    below[:, 32:] += 1
    assert float(seen_loss(below, seen)) == 0
    # What is far off is a mistake of one of them: it costs no more than that, and pulls nothing.
    wild = (STILL[None] + 1.0).requires_grad_()
    loss = seen_loss(wild, seen)
    assert loss.item() == pytest.approx(0.6)
    (gradient,) = torch.autograd.grad(loss, wild)
    assert float(gradient.abs().max()) == 0
    assert float(seen_loss(STILL[None] + 0.05, seen._replace(trust=0 * trust))) == 0


def test_a_torso_moves_as_most_of_what_is_below_the_chin() -> None:
    move = turned(0.1, 0.05, 0.02)
    flow = carried(move, STILL)[None].clone()
    flow[:, :36] = STILL[:36]  # a head that stays
    flow[:, 40:, 10:20] = STILL[40:, 10:20] + 0.2  # a hand that waves
    found = body_motion(Seen(flow, torch.ones(1, 64, 64)), CHIN, HEIGHT, FACE)
    assert bool(found.known)
    place = torch.tensor([[0.1, 0.6]])
    there = (found.matrix * place[:, None]).sum(-1) + found.shift
    torch.testing.assert_close(there, carried(move, place), atol=0.01, rtol=0)
    torch.testing.assert_close(found.matrix[0], torch.from_numpy(move[:, :2]).float(), atol=0.03, rtol=0)


@pytest.mark.parametrize("why", ["no face", "nothing seen", "below the picture"])
def test_a_torso_that_is_not_seen_is_not_known(why: str) -> None:
    trust = torch.zeros(1, 64, 64) if why == "nothing seen" else torch.ones(1, 64, 64)
    chin = CHIN + torch.tensor([0.0, 0.88]) if why == "below the picture" else CHIN
    motion = body_motion(Seen(STILL[None], trust), chin, HEIGHT, FACE & (why != "no face"))
    assert not bool(motion.known)
    assert torch.isfinite(torch.cat([motion.matrix.flatten(), motion.shift.flatten()])).all()
    one = Points(torch.rand(1, 2), torch.eye(2)[None])
    other = Points(one.value + 1, 2 * one.jacobian)
    assert [float(loss) for loss in torso_loss(one, other, motion)] == [0, 0]


def test_a_torso_that_was_carried_along_costs_nothing() -> None:
    matrix, shift = torch.tensor([[[0.9, 0.2], [-0.1, 1.1]]]), torch.tensor([[0.1, -0.05]])
    motion = BodyMotion(matrix, shift, FACE)
    driving = Points(torch.tensor([[0.2, 0.5]]), torch.tensor([[[1.2, 0.1], [0.0, 0.8]]]))
    source = Points((matrix * driving.value[:, None]).sum(-1) + shift, matrix @ driving.jacobian)
    assert [float(loss) for loss in torso_loss(source, driving, motion)] == pytest.approx([0, 0], abs=1e-6)
    value, jacobian = torso_loss(Points(source.value + 0.1, 2 * source.jacobian), driving, motion)
    assert float(value) == pytest.approx(0.1)
    # Half of what it should be is an identity of halves: off by a half in two of four numbers.
    assert float(jacobian) == pytest.approx(0.25)


@pytest.mark.parametrize("only", ["rendering", "body"])
def test_a_detector_that_learns_learns_where_torsos_go(only: str) -> None:
    canonical = np.random.default_rng(0).normal(0, 0.2, (175, 3)).astype(np.float32)
    network = untrained(config=TINY).train()
    objective = LiteObjective(network, None, canonical, only=only, follow=True)
    picture = tensor(cloth())
    faces = torch.from_numpy(canonical[None, None, :, :2]).expand(1, 2, -1, -1)
    losses = objective(picture, tensor(moved(cloth(), turned(0, 0.05, 0)))[None], None, faces)
    assert ("torso_value" in losses) == (only == "body")
    assert losses["seen"].item() > 0
    if only == "body":
        losses["torso_value"].backward()
        # Of all heatmaps, the torso's alone.
        rows = network.detector.whole.heatmaps.weight.grad
        assert rows is not None
        assert rows.flatten(1).abs().amax(1).nonzero().flatten().tolist() == [TORSO]


def test_without_faces_flow_is_followed_all_the_same() -> None:
    objective = LiteObjective(untrained(config=TINY).train(), None, None, follow=True)
    losses = objective(tensor(cloth()), tensor(cloth(1))[None], None, torch.full((1, 2, 175, 2), torch.nan))
    assert "seen" in losses
    assert "torso_value" not in losses
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_flow_is_found_on_the_cpu_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbone_command, "training_device", lambda _: torch.device("cuda"))
    wanted = options("--optical-flow", "--output", str(tmp_path / "run"))
    with pytest.raises(RequestError, match="--optical-flow is computed on the CPU"):
        backbone_command.train(wanted, TINY)
    assert not list(tmp_path.iterdir())
