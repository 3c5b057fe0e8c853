from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.lite.network import Points
from models.perceptual import Perceptual
from models.training.backbones.losses import AffineWarp, equivariance, pyramid_l1, separation_loss
from shared.errors import RequestError
from tests.models.squeezenet import squeezenet

torch.set_num_threads(1)


def pictures(count: int, seed: int = 0, size: int = 64) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


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


def test_a_place_that_counts_twice_costs_twice() -> None:
    target, weight = pictures(2), torch.ones(2, 1, 64, 64)
    left = target.clone()
    left[..., :32] += 0.25
    plain = pyramid_l1(left, target)
    weight[..., 48:] = 5
    torch.testing.assert_close(pyramid_l1(left, target, weight=weight), plain)
    weight[..., :40] = 2
    torch.testing.assert_close(pyramid_l1(left, target, weight=weight), 2 * plain)


def test_points_at_one_place_are_not_separate() -> None:
    one = torch.zeros(2, 10, 2, requires_grad=True)
    loss = separation_loss(one)
    assert loss.item() == pytest.approx(1, abs=0.01)
    (gradient,) = torch.autograd.grad(loss, one)
    assert torch.isfinite(gradient).all()
    row = torch.stack([torch.arange(10.0), torch.zeros(10)], dim=-1)[None]
    assert separation_loss(0.11 * row) == 0
    # Half as far as wanted from each neighbour: nine of 45 pairs are, by half.
    assert float(separation_loss(0.05 * row)) == pytest.approx(0.1, abs=1e-3)


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
    ones, half = torch.ones(2, 1, 64, 64), torch.ones(2, 1, 64, 64)
    torch.testing.assert_close(
        distance(pictures(2), pictures(2, seed=1), 3 * ones), 3 * distance(pictures(2), pictures(2, seed=1))
    )
    half[:1] = 0
    second = distance(pictures(2)[1:], pictures(2, seed=1)[1:])
    torch.testing.assert_close(distance(pictures(2), pictures(2, seed=1), half), second / 2)
    with pytest.raises(RequestError, match="perceptual network"):
        Perceptual(tmp_path / "none.safetensors")


def test_another_file_is_no_perceptual_network(tmp_path: Path) -> None:
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(RequestError, match="does not hold the convolutions of SqueezeNet"):
        Perceptual(tmp_path / "other.safetensors")
