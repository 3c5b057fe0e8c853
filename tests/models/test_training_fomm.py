import math
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from models.fomm.config import FommConfig
from models.fomm.keypoint_detector import Points
from models.fomm.model import Fomm
from models.training.backbones.discriminator import SMALLEST, MultiScaleDiscriminator
from models.training.backbones.fomm import FommObjective, convolve_in_bf16
from models.training.backbones.fomm_losses import (
    AdversarialLoss,
    PyramidDistance,
    Vgg19,
    equivariance,
    load_features,
)
from models.training.data.thin_plate import ThinPlateWarp
from shared.errors import RequestError

torch.set_num_threads(1)
TINY = FommConfig(
    image_size=64, detector_expansion=4, detector_blocks=2, motion_expansion=4, motion_blocks=2,
    generator_expansion=4, generator_down_blocks=1, generator_bottleneck_blocks=1,
)  # fmt: skip
# torchvision's VGG-19 down to the last layer that is looked at; numbers are channels here.
VGG = [4, 4, "M", 6, 6, "M", 8, 8, 8, 8, "M", 8, 8, 8, 8, "M", 8]


def pictures(count: int, seed: int = 0, size: int = 64) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def vgg() -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    channels = 3
    for width in VGG:
        if isinstance(width, int):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def vgg_weights() -> dict[str, Tensor]:
    return {f"features.{name}": tensor for name, tensor in vgg().state_dict().items()}


def test_a_warp_without_noise_changes_nothing() -> None:
    warp = ThinPlateWarp(2, affine=0, spline=0)
    torch.testing.assert_close(warp.warp(pictures(2)), pictures(2), atol=1e-5, rtol=0)
    places = torch.rand(2, 7, 2) * 2 - 1
    torch.testing.assert_close(warp.carry(places), places)
    torch.testing.assert_close(warp.jacobian(places), torch.eye(2).expand(2, 7, 2, 2))


def test_warps_are_as_large_as_published() -> None:
    torch.manual_seed(0)
    warp = ThinPlateWarp(4000)
    assert float((warp.matrix - torch.eye(2)).std()) == pytest.approx(0.05, rel=0.05)
    assert float(warp.shift.std()) == pytest.approx(0.05, rel=0.05)
    assert float(warp.weights.std()) == pytest.approx(0.005, rel=0.05)
    assert warp.centres.shape == (25, 2)
    # One control point at (-1, -1): a place at an L1 distance of 3 is moved by 9 log 3 along (1, 1).
    warp = ThinPlateWarp(1, affine=0, spline=0)
    warp.weights[0, 0] = 1
    moved = warp.carry(torch.tensor([[[1.0, 0.0]]]))
    torch.testing.assert_close(moved, torch.tensor([[[1.0, 0.0]]]) + 9 * math.log(3), atol=1e-4, rtol=0)


def test_the_jacobian_of_a_warp_is_its_derivative() -> None:
    torch.manual_seed(0)
    warp = ThinPlateWarp(3, spline=0.1)
    places = (torch.rand(3, 6, 2) * 2 - 1).requires_grad_()
    moved = warp.carry(places)
    rows = [torch.autograd.grad(moved[..., axis].sum(), places, retain_graph=True)[0] for axis in range(2)]
    torch.testing.assert_close(warp.jacobian(places), torch.stack(rows, dim=-2), atol=1e-4, rtol=1e-4)


def test_a_place_carried_back_is_where_the_picture_came_from() -> None:
    torch.manual_seed(1)
    plain = torch.zeros(4, 1, 129, 129)
    plain[..., 80:83, 40:43] = 1
    warp = ThinPlateWarp(4)
    warped = warp.warp(plain)
    axis = torch.linspace(-1, 1, 129)
    mass = warped[:, 0] / warped.sum((1, 2, 3))[:, None, None]
    found = torch.stack([(mass.sum(1) * axis).sum(1), (mass.sum(2) * axis).sum(1)], dim=-1)
    dot = torch.stack([axis[41], axis[81]])
    torch.testing.assert_close(warp.carry(found[:, None]), dot.expand(4, 1, 2), atol=0.005, rtol=0)
    assert (found - dot).abs().max() > 0.05


def test_points_that_followed_the_warp_exactly_cost_nothing() -> None:
    torch.manual_seed(0)
    warped = Points(torch.rand(3, 10, 2) - 0.5, torch.eye(2) + 0.2 * torch.randn(3, 10, 2, 2))
    warp = ThinPlateWarp(3)
    losses = torch.stack(equivariance(warp.points(warped), warped, warp))
    torch.testing.assert_close(losses, torch.zeros(2), atol=1e-4, rtol=0)
    assert (torch.stack(equivariance(warped, warped, warp)) > 0.01).all()


def test_vgg_gives_the_five_published_depths(tmp_path: Path) -> None:
    layers, weights = vgg(), vgg_weights()
    save_file(weights, tmp_path / "vgg.safetensors")
    torch.save({**weights, "classifier.0.weight": torch.zeros(2, 2)}, tmp_path / "vgg.pth")
    normal = (pictures(2) - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    for file in ("vgg.safetensors", "vgg.pth"):
        network = load_features(tmp_path / file)
        assert isinstance(network, Vgg19)
        assert not network.state_dict()
        for depth, features in zip((2, 7, 12, 21, 30), network.features(pictures(2)), strict=True):
            torch.testing.assert_close(features, layers[:depth](normal))


class _Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("exit 1",)


@pytest.mark.parametrize(
    "name",
    ["none.pth", "junk.pth", "junk.safetensors", "hostile.pth", "part.safetensors", "odd.safetensors"],
)
def test_what_is_no_perceptual_network_is_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "junk.pth").write_bytes(b"junk")
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    torch.save({"features.28.weight": _Hostile()}, tmp_path / "hostile.pth")
    save_file({"features.28.weight": torch.zeros(1)}, tmp_path / "part.safetensors")
    save_file({**vgg_weights(), "features.19.weight": torch.zeros(8, 9, 3, 3)}, tmp_path / "odd.safetensors")
    with pytest.raises(RequestError, match="perceptual network") as caught:
        load_features(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_the_pyramid_distance_is_of_pictures_at_several_scales() -> None:
    near = pictures(2) + 0.02
    for network, count in ((None, 1), (Vgg19(vgg_weights()), 5)):
        distance = PyramidDistance(64, network)
        assert distance(pictures(2), pictures(2)) == 0
        assert 0 < distance(near, pictures(2)) < distance(pictures(2, seed=1), pictures(2))
        assert len(distance._features(pictures(1))) == count
    # Without a network: in units of the target's mean, at 64 and 32 pixels.
    flat = torch.full((1, 3, 64, 64), 0.5)
    assert float(PyramidDistance(64, None)(0.75 * flat, flat)) == pytest.approx(10 * 2 * 0.25, abs=0.3)
    assert [len(PyramidDistance(size, None).downs) for size in (32, 64, 128, 256)] == [1, 2, 3, 4]
    with pytest.raises(RequestError, match="16 pixels are too small"):
        PyramidDistance(16, None)


@pytest.mark.parametrize("keypoints", [0, 10])
def test_the_discriminator_is_the_published_one(keypoints: int) -> None:
    torch.manual_seed(0)
    critic = MultiScaleDiscriminator(keypoints)
    points = torch.rand(2, 10, 2) - 0.5
    (maps,) = critic(pictures(2), points)
    assert [tuple(m.shape[1:]) for m in maps] == [
        (64, 30, 30), (128, 13, 13), (256, 5, 5), (512, 2, 2), (1, 2, 2),
    ]  # fmt: skip
    (moved,) = critic.eval()(pictures(2), points + 0.3)
    (same,) = critic(pictures(2), points)
    # Only an adversary of keypoints looks at them; only the other has its spectra normalised.
    assert torch.equal(moved[-1], same[-1]) == (keypoints == 0)
    assert is_parametrized(critic.discs["1"].down_blocks[1].conv) == (keypoints == 0)
    (smallest,) = critic.train()(pictures(2, size=SMALLEST), points)
    assert smallest[-1].shape == (2, 1, 2, 2)


def test_neither_side_of_the_adversary_teaches_the_other() -> None:
    torch.manual_seed(0)
    adversary = AdversarialLoss(MultiScaleDiscriminator())
    made = pictures(2, seed=1).requires_grad_()
    losses = adversary(made, pictures(2), torch.zeros(2, 10, 2))
    assert list(losses) == ["gan", "matching", "critic"]
    losses["critic"].backward(retain_graph=True)
    assert made.grad is None
    weights = list(adversary.parameters())
    assert all(weight.grad is not None for weight in weights)
    learned = [weight.grad.clone() for weight in weights if weight.grad is not None]
    (losses["gan"] + losses["matching"]).backward()
    assert made.grad is not None
    assert made.grad.abs().sum() > 0
    for weight, before in zip(weights, learned, strict=True):
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, before, rtol=0, atol=0)


def test_the_objective_reaches_every_weight() -> None:
    torch.manual_seed(0)
    network, critic = Fomm(TINY).train(), MultiScaleDiscriminator(10)
    nn.init.normal_(network.kp_detector.jacobian.weight, std=0.1)
    distance = PyramidDistance(64, Vgg19(vgg_weights()))
    objective = FommObjective(network, distance, AdversarialLoss(critic), bf16=False)
    losses = objective(pictures(2), pictures(2, seed=1)[:, None])
    assert list(losses) == ["features", "gan", "matching", "critic", "value", "jacobian"]
    assert all(torch.isfinite(loss) and loss > 0 for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    named = [*network.named_parameters(), *critic.named_parameters()]
    without = [name for name, p in named if p.grad is None]
    assert not without
    assert not [name for name, p in network.named_parameters() if not p.grad.abs().sum() > 0]  # type: ignore[union-attr]


def test_convolutions_in_bfloat16_leave_coordinates_alone() -> None:
    torch.manual_seed(0)
    network = Fomm(TINY)
    nn.init.normal_(network.kp_detector.kp.weight, std=0.05)
    plain: Points = network.kp_detector(pictures(2))
    names = list(network.state_dict())
    convolve_in_bf16(network)
    assert list(network.state_dict()) == names
    half: Points = network.kp_detector(pictures(2))
    assert network.generator.final(torch.zeros(1, 4, 8, 8)).dtype == torch.bfloat16
    assert half.value.dtype == torch.float32
    torch.testing.assert_close(half.value, plain.value, atol=2e-3, rtol=0)
    objective = FommObjective(network.train(), PyramidDistance(64, Vgg19(vgg_weights())), None, bf16=True)
    losses = objective(pictures(2), pictures(2, seed=1)[:, None])
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in network.parameters())
