from typing import Any

import pytest
import torch

from bench.metrics import operations, parameters
from models.lite.config import LiteConfig
from models.lite.network import LiteNetwork, Points, Window
from shared.errors import RequestError

torch.set_num_threads(1)
TINY = LiteConfig(detector=(8, 8, 8, 8), motion=(8, 8, 8, 8), generator=(8, 8, 8), detail=4)


def tiny() -> LiteNetwork:
    torch.manual_seed(0)
    return LiteNetwork(TINY).eval()


def pictures(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, 256, 256, generator=torch.Generator().manual_seed(seed))


def test_the_network_is_within_its_budgets() -> None:
    pytest.importorskip("fvcore", reason="counting needs the bench extra")
    network = LiteNetwork().eval()
    picture = torch.zeros(1, 3, 256, 256)
    with torch.inference_mode():
        source = network.encode(picture)
        driving = source.points.flat()
        detect = operations(network, lambda x: network.detector(x).flat(), picture)
        render = operations(network, lambda x: network.render(source, Points.from_flat(x)), driving)
    assert 0.05e9 < detect <= 0.2e9
    assert 0.5e9 < render <= 1.5e9
    assert parameters(network) <= 5_000_000


def test_points_go_flat_and_back() -> None:
    flat = torch.arange(120.0).reshape(2, 60)
    points = Points.from_flat(flat)
    assert points.value[1, 1].tolist() == [62, 63]
    assert points.jacobian[0, 1].tolist() == [[24, 25], [26, 27]]
    assert torch.equal(points.flat(), flat)


def test_a_fresh_detector_finds_points_inside_the_picture_with_identity_jacobians() -> None:
    points = tiny().detector(pictures(2))
    assert points.value.abs().max() < 1
    torch.testing.assert_close(points.jacobian, torch.eye(2).expand(2, 10, 2, 2), atol=1e-5, rtol=0)


def test_a_bright_spot_draws_the_points_of_a_detector_of_brightness() -> None:
    network = tiny()
    with torch.no_grad():
        # A U-Net whose finest scale is its input's brightness: the expectation must land on the spot.
        network.detector.heatmaps.weight.fill_(1.0)
        network.detector.body.forward = lambda x: x.mean(1, keepdim=True).expand(-1, 8, -1, -1)  # type: ignore[method-assign]
        picture = torch.zeros(1, 3, 256, 256)
        picture[..., 60:68, 188:196] = 1
        value = network.detector(picture).value
    torch.testing.assert_close(value, torch.tensor([0.5, -0.5]).expand(1, 10, 2), atol=0.02, rtol=0)


@torch.inference_mode()
def test_equal_points_give_the_source_as_the_warped_picture() -> None:
    network = tiny()
    source = network.encode(pictures(1))
    motion = network.motion(source, source.points)
    frame, warped = network.generator(source, motion)
    assert frame.shape == warped.shape == (1, 3, 256, 256)
    # The outermost pixels lie beyond the centres of the coarse flow.
    inside = slice(4, -4)
    expected = source.picture[..., inside, inside]
    torch.testing.assert_close(warped[..., inside, inside], expected, atol=1e-3, rtol=0)
    assert frame.min() >= 0
    assert frame.max() <= 1


@torch.inference_mode()
def test_a_window_warps_its_part_of_the_whole() -> None:
    network = tiny()
    source = network.encode(pictures(1))
    driving = Points(source.points.value + 0.05, source.points.jacobian * 1.1)
    motion = network.motion(source, driving)
    _, whole = network.generator(source, motion)
    frame, part = network.generator(source, motion, Window(8, 12, 32))
    assert frame.shape == (1, 3, 128, 128)
    torch.testing.assert_close(part, whole[..., 32:160, 48:176])


@torch.inference_mode()
def test_a_source_expanded_renders_as_one_repeated() -> None:
    network = tiny()
    driving = network.detector(pictures(3, seed=1))
    one = network.render(network.encode(pictures(1)).expand(3), driving)
    many = network.render(network.encode(pictures(1).repeat(3, 1, 1, 1)), driving)
    torch.testing.assert_close(one, many, atol=1e-4, rtol=0)


def test_sizes_survive_the_way_through_json() -> None:
    assert LiteConfig.from_map(LiteConfig().to_map()) == LiteConfig()
    assert LiteConfig.from_map(TINY.to_map()) == TINY
    assert LiteConfig.from_map({**TINY.to_map(), "variance": 1}).variance == 1.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("detector", (8, 8, 8, 8)),
        ("detector", [8, 8, 8]),
        ("detector", "8888"),
        ("motion", [8, 8, 8, 10**9]),
        ("motion", [8, 8, 8, 8.0]),
        ("generator", [8, 8, 0]),
        ("generator", [8, True, 8]),
        ("detail", 0.5),
        ("detail", None),
        ("detail", -4),
        ("temperature", 0),
        ("temperature", float("nan")),
        ("temperature", "0.1"),
        ("variance", 1e-300),
        ("variance", float("inf")),
        ("variance", True),
    ],
)
def test_sizes_out_of_range_are_refused(name: str, value: Any) -> None:
    with pytest.raises(RequestError, match=name):
        LiteConfig.from_map({**TINY.to_map(), name: value})


@pytest.mark.parametrize("values", [None, [], "lite", {}, {**TINY.to_map(), "more": 1}])
def test_a_config_of_something_else_is_refused(values: Any) -> None:
    with pytest.raises(RequestError, match="not those of this version"):
        LiteConfig.from_map(values)
