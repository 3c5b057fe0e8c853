"""The lite network's training objective, with landmarks and without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.lite.network import GRID, LiteNetwork, Points, Window
from models.training.backbones.found_points import mostly_held
from models.training.backbones.lite import LiteObjective, random_window
from shared.keypoints import Floats
from tests.drawn_face import face
from tests.models.squeezenet import squeezenet
from tests.tiny_lite import unsettled

pytestmark = pytest.mark.slow

torch.set_num_threads(1)
PLAIN = ["value", "jacobian", "separation", "warp", "pixels", "features"]
LABELLED = [
    "rough_value", "rough_shape", "fine_value", "fine_shape", "warp", "flow", "lids", "still", "pixels",
    "features", "loop",
]  # fmt: skip
CANONICAL = np.pad(face(), ((0, 0), (0, 1)))


def pictures(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, 3, 256, 256, generator=torch.Generator().manual_seed(seed))


def landmarks(batch: int, drivings: int) -> Tensor:
    """Return the landmarks of source and driving pictures (B, 1 + N, 175, 2); no two are alike."""
    faces = [face(lips=0.02 * n, lids=0.3 - 0.04 * n, gaze=0.4 + 0.05 * n) for n in range(1 + drivings)]
    each = np.stack([np.add(faces, (0.05 * n, -0.03 * n)) for n in range(batch)])
    return torch.from_numpy(each.astype(np.float32))


def objective(canonical: Floats | None, perceptual: Path | None = None) -> LiteObjective:
    made = LiteObjective(unsettled(), perceptual, canonical)
    made.network.train()
    return made


def total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


def silent(network: LiteNetwork) -> list[str]:
    """Return the names of the weights that no gradient reached; softmax is deaf to the heatmaps' bias."""
    named = {name: p for name, p in network.named_parameters() if not name.endswith("heatmaps.bias")}
    return [name for name, p in named.items() if p.grad is None or not p.grad.abs().sum() > 0]


def statistics(module: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in module.named_buffers()}


def test_windows_lie_inside_and_follow_their_generator() -> None:
    windows = [random_window(torch.Generator().manual_seed(seed)) for seed in range(200)]
    assert windows[:5] == [random_window(torch.Generator().manual_seed(seed)) for seed in range(5)]
    for top, left, size in windows:
        assert size == 32
        assert top % 4 == left % 4 == 0
        assert 0 <= min(top, left) <= max(top, left) <= GRID - size
    assert {window.top for window in windows} == set(range(0, 33, 4))


@pytest.mark.parametrize(
    ("canonical", "names"), [(None, PLAIN), (CANONICAL, LABELLED)], ids=["without", "with"]
)
def test_the_losses_reach_every_weight(canonical: Floats | None, names: list[str], tmp_path: Path) -> None:
    learned = objective(canonical, squeezenet(tmp_path / "squeezenet.safetensors"))
    window = random_window(torch.Generator().manual_seed(0))
    faces = landmarks(2, 2)
    losses = learned(pictures(2), pictures(2, 2, seed=1), window, faces)
    assert list(losses) == names
    assert all(torch.isfinite(loss) for loss in losses.values()), losses
    assert all(loss > 0 for name, loss in losses.items() if name != "separation"), losses
    total(losses).backward()
    assert not silent(learned.network)
    assert all(parameter.grad is None for parameter in learned.judge.parameters())


def test_pictures_without_faces_train_all_but_what_the_points_mean() -> None:
    learned = objective(CANONICAL)
    losses = learned(pictures(2), pictures(2, 1, seed=1), None, torch.full((2, 2, 175, 2), torch.nan))
    assert list(losses) == [name for name in LABELLED if name != "features"]
    assert all(torch.isfinite(loss) for loss in losses.values()), losses
    unseen = {"rough_value", "rough_shape", "fine_value", "fine_shape", "flow", "lids", "still"}
    assert {name for name, loss in losses.items() if loss == 0} == unseen
    total(losses).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in learned.network.parameters())


def test_what_points_mean_is_told_to_the_detector_alone() -> None:
    learned = objective(CANONICAL)
    found, losses = learned.detect(pictures(3), landmarks(1, 2)[0])
    assert found.value.shape == (3, 10, 2)
    total(losses).backward()
    assert not [name for name in silent(learned.network) if name.startswith("detector.")]
    # The torso has no landmarks: all that reaches it is the rendering.
    heat = learned.network.detector.whole.heatmaps.weight.grad
    assert heat is not None
    assert not heat[8].any()
    assert heat[[0, 1, 2, 3, 4, 5, 6, 7, 9]].flatten(1).any(1).all()
    assert all(p.grad is None for p in learned.network.generator.parameters())


def test_rendering_moves_a_labelled_point_a_fifth_as_much_as_the_torso() -> None:
    for tensor in (torch.rand(2, 10, 2), torch.rand(2, 10, 2, 2)):
        held = mostly_held(tensor.requires_grad_())
        assert torch.equal(held, tensor)
        (gradient,) = torch.autograd.grad(held.sum(), tensor)
        assert (gradient[:, 8] == 1).all()
        torch.testing.assert_close(gradient[:, :8], torch.full_like(gradient[:, :8], 0.2))
        torch.testing.assert_close(gradient[:, 9], torch.full_like(gradient[:, 9], 0.2))


def test_a_window_is_a_part_of_the_whole_picture() -> None:
    """Losses of motion and points look at the whole picture, whatever is rendered of it."""
    faces, driving = landmarks(1, 1), pictures(1, 1, seed=1)
    each = []
    for window in (None, Window(), Window(8, 4, 32), Window(16, 16, 32)):
        torch.manual_seed(0)
        each.append(objective(CANONICAL)(pictures(1), driving, window, faces))
    torch.testing.assert_close(each[0], each[1])
    for part in each[2:]:
        for name in ("fine_value", "warp", "flow", "still"):
            torch.testing.assert_close(part[name], each[0][name])
        assert part["pixels"] != each[0]["pixels"]


def test_each_driving_frame_goes_with_its_source() -> None:
    """Two sources with two frames each cost the mean of both alone, once nothing depends on the batch."""
    learned = objective(CANONICAL)
    learned.network.eval()
    source, driving, faces = pictures(2), pictures(2, 2, seed=1), landmarks(2, 2)
    found = learned.code.points(torch.cat([faces[:, 0], faces[:, 1:].flatten(0, 1)]))  # type: ignore[union-attr]
    whole = Points(*(torch.cat([part[:, :8], part[:, :1], part[:, 8:]], dim=1) for part in found))
    together = learned.draw(source, driving.flatten(0, 1), None, faces, whole)
    apart = []
    for index in range(2):
        rows = [index, 2 + 2 * index, 3 + 2 * index]
        mine = Points(whole.value[rows], whole.jacobian[rows])
        part = slice(index, index + 1)
        apart.append(learned.draw(source[part], driving[index], None, faces[part], mine))
    for name, loss in together.items():
        torch.testing.assert_close(loss, (apart[0][name] + apart[1][name]) / 2, rtol=1e-3, atol=1e-5)


def test_the_loop_looks_with_a_detector_at_rest() -> None:
    learned = objective(CANONICAL)
    batch = pictures(2), pictures(2, 1, seed=1), None, landmarks(2, 1)
    learned(*batch)
    norms = [m for m in learned.network.detector.whole.modules() if isinstance(m, nn.BatchNorm2d)]
    # The network's own statistics are those of the pictures, seen once; the frames drawn are not among them.
    assert {int(norm.num_batches_tracked) for norm in norms} == {1}  # type: ignore[arg-type]
    judged = statistics(learned.judge)
    mine = statistics(learned.network.detector)
    assert all(torch.equal(judged[name], buffer) for name, buffer in mine.items())
    assert not learned.judge.training
    learned(*batch)
    moved = statistics(learned.network.detector)
    assert any(not torch.equal(judged[name], buffer) for name, buffer in moved.items())
    assert all(torch.equal(judged[name], buffer) for name, buffer in learned.judge.named_buffers())
    assert not any(parameter.requires_grad for parameter in learned.judge.parameters())


def test_without_landmarks_a_picture_is_looked_at_once_and_once_warped() -> None:
    learned = objective(None)
    found, _ = learned.detect(pictures(2), torch.full((2, 175, 2), torch.nan))
    assert found.value.shape == (2, 10, 2)
    counts = {
        part: {int(m.num_batches_tracked) for m in module.modules() if isinstance(m, nn.BatchNorm2d)}  # type: ignore[arg-type]
        for part, module in learned.network.detector.named_children()
    }
    assert counts == {"whole": {2}, "eyes": {1}, "mouth": {1}}


def test_the_detector_at_rest_catches_up_now_and_then() -> None:
    learned = objective(CANONICAL)
    learned._judge()
    with torch.no_grad():
        learned.network.detector.mouth.numbers.bias.add_(1)
    behind = learned.network.detector.mouth.numbers.bias
    for _ in range(199):
        assert not torch.equal(learned._judge().mouth.numbers.bias, behind)
    assert torch.equal(learned._judge().mouth.numbers.bias, behind)


def test_the_objective_runs_in_bfloat16() -> None:
    learned = objective(CANONICAL)
    with torch.autocast("cpu", torch.bfloat16):
        losses = learned(pictures(2), pictures(2, 1, seed=1), Window(16, 16, 32), landmarks(2, 1))
    assert all(torch.isfinite(loss) for loss in losses.values())
    total(losses).backward()
    assert not silent(learned.network)
