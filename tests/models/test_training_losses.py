from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.lite.config import LiteConfig
from models.lite.network import GRID, LiteNetwork, Points
from models.perceptual import Perceptual
from models.training.lite import LiteObjective, random_window
from models.training.losses import AffineWarp, equivariance, pyramid_l1
from shared.errors import RequestError

torch.set_num_threads(1)
TINY = LiteConfig(detector=(8, 8, 8, 8), motion=(8, 8, 8, 8), generator=(8, 8, 8), detail=4)
# (squeeze, expand) channels of SqueezeNet v1.1's fire modules by layer, and their inputs.
FIRES = {3: (64, 16, 64), 4: (128, 16, 64), 6: (128, 32, 128), 7: (256, 32, 128), 9: (256, 48, 192),
         10: (384, 48, 192), 11: (384, 64, 256), 12: (512, 64, 256)}  # fmt: skip


def pictures(count: int, seed: int = 0, size: int = 64) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def squeezenet(path: Path) -> Path:
    """SqueezeNet's convolutions, filled at random."""
    generator = torch.Generator().manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {"features.0": (64, 3, 3, 3)}
    for layer, (inputs, squeeze, expand) in FIRES.items():
        shapes[f"features.{layer}.squeeze"] = (squeeze, inputs, 1, 1)
        shapes[f"features.{layer}.expand1x1"] = (expand, squeeze, 1, 1)
        shapes[f"features.{layer}.expand3x3"] = (expand, squeeze, 3, 3)
    weights: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        weights[f"{name}.weight"] = torch.randn(shape, generator=generator) * (2 / shape[1]) ** 0.5
        weights[f"{name}.bias"] = torch.zeros(shape[0])
    save_file(weights, path)
    return path


def points(batch: int, seed: int = 0) -> Points:
    generator = torch.Generator().manual_seed(seed)
    value = torch.rand(batch, 10, 2, generator=generator) - 0.5
    return Points(value, torch.eye(2) + 0.2 * torch.randn(batch, 10, 2, 2, generator=generator))


def test_equal_pictures_have_no_distance_and_a_constant_one_its_own() -> None:
    target = pictures(2)
    assert pyramid_l1(target, target) == 0
    # A constant has no gradients, and every level of the pyramid holds it.
    torch.testing.assert_close(pyramid_l1(target + 0.25, target), torch.tensor(0.25))
    assert pyramid_l1(target, pictures(2, seed=1)) > 0.1


def test_points_that_followed_the_warp_exactly_cost_nothing() -> None:
    torch.manual_seed(0)
    affine, warped = AffineWarp(3, torch.zeros(())), points(3)
    value, jacobian = equivariance(affine.apply(warped), warped, affine)
    torch.testing.assert_close(torch.stack([value, jacobian]), torch.zeros(2), atol=1e-5, rtol=0)
    value, jacobian = equivariance(warped, warped, affine)
    assert value > 0.01
    assert jacobian > 0.01


def test_a_point_carried_back_lands_where_the_picture_came_from() -> None:
    torch.manual_seed(1)
    plain = torch.zeros(4, 1, 128, 128)
    plain[..., 70:73, 50:53] = 1
    affine = AffineWarp(4, plain)
    warped = affine.warp(plain)
    ahead = (torch.arange(128) * 2 + 1) / 128 - 1
    mass = warped[:, 0] / warped.sum((1, 2, 3))[:, None, None]
    found = torch.stack([(mass.sum(1) * ahead).sum(1), (mass.sum(2) * ahead).sum(1)], dim=-1)
    carried = affine.apply(Points(found[:, None], torch.eye(2).expand(4, 1, 2, 2)))
    dot = torch.stack([ahead[51], ahead[71]])
    torch.testing.assert_close(carried.value, dot.expand(4, 1, 2), atol=0.01, rtol=0)
    assert (found - dot).abs().max() > 0.05


def test_the_perceptual_distance_is_of_pictures(tmp_path: Path) -> None:
    distance = Perceptual(squeezenet(tmp_path / "squeezenet.safetensors"))
    assert distance(pictures(2), pictures(2)) == 0
    near = distance(pictures(2) + 0.05 * pictures(2, seed=1), pictures(2))
    assert 0 < near < distance(pictures(2, seed=2), pictures(2))
    assert not list(distance.parameters())
    assert not distance.state_dict()
    with pytest.raises(RequestError, match="perceptual network"):
        Perceptual(tmp_path / "none.safetensors")


def test_windows_lie_inside_and_follow_their_generator() -> None:
    windows = [random_window(torch.Generator().manual_seed(seed)) for seed in range(200)]
    assert windows[:5] == [random_window(torch.Generator().manual_seed(seed)) for seed in range(5)]
    for top, left, size in windows:
        assert size == 32
        assert top % 4 == left % 4 == 0
        assert 0 <= min(top, left) <= max(top, left) <= GRID - size
    assert {window.top for window in windows} == set(range(0, 33, 4))


def test_another_file_is_no_perceptual_network(tmp_path: Path) -> None:
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(RequestError, match="does not hold the convolutions of SqueezeNet"):
        Perceptual(tmp_path / "other.safetensors")


def test_the_objective_reaches_every_weight(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = LiteNetwork(TINY)
    # The residual branches start at zero, and hide what is before them.
    for name, parameter in network.named_parameters():
        if name.endswith(("norm.weight", "jacobians.weight")):
            torch.nn.init.normal_(parameter, std=0.1)
    objective = LiteObjective(network, squeezenet(tmp_path / "squeezenet.safetensors"))
    losses = objective(pictures(2, size=256), pictures(2, seed=1, size=256), random_window(torch.Generator()))
    assert list(losses) == ["pixels", "warp", "value", "jacobian", "anchors", "separation", "features"]
    assert all(torch.isfinite(loss) and loss >= 0 for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without
