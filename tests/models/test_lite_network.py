from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from bench.harness.metrics import operations, parameters
from models.lite import detector, geometry
from models.lite.config import LiteConfig
from models.lite.detector import CANONICAL, MOUTH, TORSO, face_frame
from models.lite.geometry import pixel_grid
from models.lite.network import LiteNetwork, Points, Source, Window
from shared.errors import RequestError
from tests.tiny_lite import TINY, unsettled, untrained

torch.set_num_threads(1)
FOUND_IN_PATCHES = [0, 1, *MOUTH]
# Which point is which once the picture is mirrored.
SIDES = [1, 0, 2, 4, 3, 5, 6, 7, 8, 9]
MIRROR = torch.diag(torch.tensor([-1.0, 1.0]))
# The sizes of the network that this one replaces.
FORMER = {"detail": 24, "detector": [32, 48, 88, 128], "generator": [64, 96, 128],
          "motion": [32, 64, 96, 128], "temperature": 0.1, "variance": 0.01}  # fmt: skip


def pictures(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, 256, 256, generator=torch.Generator().manual_seed(seed))


def points(count: int, seed: int = 0) -> Points:
    generator = torch.Generator().manual_seed(seed)
    value = torch.rand(count, 10, 2, generator=generator) - 0.5
    return Points(value, torch.eye(2) + 0.2 * torch.randn(count, 10, 2, 2, generator=generator))


def similarity(angle: float, scale: float) -> Tensor:
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float32)


def typical(matrix: Tensor, x: float = 0.0, y: float = 0.0) -> Tensor:
    """Return the points (1, 10, 2) of a typical face that `matrix` and a shift have carried away."""
    return (torch.tensor(CANONICAL) @ matrix.T + torch.tensor([x, y]))[None]


@pytest.mark.slow
def test_the_network_is_within_its_budgets() -> None:
    pytest.importorskip("fvcore", reason="counting needs the bench extra")
    network = LiteNetwork().eval()
    picture = torch.zeros(1, 3, 256, 256)
    with torch.inference_mode():
        source = network.encode(picture)
        detect = operations(network, lambda x: network.detector(x).flat(), picture)
        render = operations(network, lambda x: network.render(source, Points.from_flat(x)), source.points)
    assert 0.05e9 < detect <= 0.23e9
    assert 0.5e9 < render <= 1.0e9
    assert parameters(network) <= 5_000_000


def test_points_go_flat_and_back() -> None:
    flat = torch.arange(120.0).reshape(2, 60)
    points = Points.from_flat(flat)
    assert points.value[1, 1].tolist() == [62, 63]
    assert points.jacobian[0, 1].tolist() == [[24, 25], [26, 27]]
    assert torch.equal(points.flat(), flat)


@pytest.mark.slow
def test_a_fresh_detector_takes_faces_for_typical_ones() -> None:
    fresh = untrained().detector
    whole = fresh.whole(pictures(2))
    found = fresh.refine(pictures(2), whole)
    assert whole.value.abs().max() < 1
    torch.testing.assert_close(whole.jacobian, torch.eye(2).expand(2, 10, 2, 2), atol=1e-5, rtol=0)
    # In a patch it stays in the middle, as large and as tilted as the face is.
    upright = face_frame(whole.value)[:, None]
    torch.testing.assert_close(found.jacobian[:, FOUND_IN_PATCHES], upright.expand(2, 6, 2, 2))
    torch.testing.assert_close(found.value[:, :2], whole.value[:, :2])
    mouth = whole.value[:, MOUTH].mean(1, keepdim=True)
    torch.testing.assert_close(found.value[:, MOUTH], mouth.expand(2, 4, 2))


@torch.inference_mode()
def test_what_patches_see_counts() -> None:
    net = unsettled().detector
    rough, found = net.whole(pictures(2)), net(pictures(2))
    fine = net.refine(pictures(2), rough)
    torch.testing.assert_close(found, fine)
    elsewhere = [point for point in range(10) if point not in FOUND_IN_PATCHES]
    torch.testing.assert_close(found.value[:, elsewhere], rough.value[:, elsewhere])
    assert (found.value - rough.value)[:, FOUND_IN_PATCHES].abs().amax(-1).min() > 0


@torch.inference_mode()
def test_each_eye_is_told_by_both() -> None:
    net, picture = unsettled().detector, pictures(1)
    rough = Points(typical(similarity(0.0, 1.0)), points(1).jacobian)
    before = net.refine(picture, rough)
    # Around the left eye alone.
    picture[:, :, 118:137, 146:164] = 0.5
    after = net.refine(picture, rough)
    assert (after.value - before.value)[0, [0, 1]].abs().amax(-1).min() > 1e-6
    torch.testing.assert_close(after.value[:, MOUTH], before.value[:, MOUTH])


def test_a_bright_spot_draws_the_points_of_a_detector_of_brightness() -> None:
    whole = untrained().detector.whole
    with torch.no_grad():
        # A U-Net whose finest scale is its input's brightness: the expectation must land on the spot.
        whole.heatmaps.weight.fill_(1.0)
        whole.body.forward = lambda x: x.mean(1, keepdim=True).expand(-1, 8, -1, -1)  # type: ignore[method-assign]
        picture = torch.zeros(1, 3, 256, 256)
        picture[..., 60:68, 188:196] = 1
        value = whole(picture).value
    torch.testing.assert_close(value, torch.tensor([0.5, -0.5]).expand(1, 10, 2), atol=0.02, rtol=0)


@pytest.mark.parametrize(("angle", "scale"), [(0.0, 1.0), (0.4, 0.6), (-2.0, 1.3)])
def test_a_faces_frame_is_the_similarity_that_made_it(angle: float, scale: float) -> None:
    matrix = similarity(angle, scale)
    value = typical(matrix, 0.2, -0.1)
    value[:, TORSO] = torch.tensor([0.9, 0.9])  # which is no part of the face
    torch.testing.assert_close(face_frame(value), matrix[None], atol=1e-5, rtol=0)


def test_a_faces_frame_is_a_similarity_whatever_the_points() -> None:
    turned = face_frame(points(50).value)
    scale = torch.linalg.det(turned).sqrt()[:, None, None]
    gram = turned.transpose(1, 2) @ turned
    torch.testing.assert_close(gram, scale.square() * torch.eye(2).expand(50, 2, 2), atol=1e-6, rtol=0)
    assert (torch.linalg.det(turned) > 0).all()


@torch.inference_mode()
def test_a_quarter_turn_of_the_picture_turns_what_is_found_in_patches() -> None:
    net, picture, rough = unsettled().detector, pictures(1), points(1)
    near = typical(similarity(0.3, 0.7), 0.1, -0.05)
    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    plain = net.refine(picture, rough, near)
    turned = net.refine(torch.rot90(picture, 1, (2, 3)), rough, near @ turn.T)
    rows = FOUND_IN_PATCHES
    torch.testing.assert_close(turned.value[:, rows], plain.value[:, rows] @ turn.T, atol=1e-4, rtol=0)
    torch.testing.assert_close(turned.jacobian[:, rows], turn @ plain.jacobian[:, rows], atol=1e-4, rtol=0)
    # Patches differ from each other, and their points are theirs.
    assert (plain.value[:, rows] - near[:, rows]).abs().amax(-1).min() > 1e-3
    # The others stay as they were given.
    others = [point for point in range(10) if point not in rows]
    assert torch.equal(turned.value[:, others], rough.value[:, others])
    assert torch.equal(turned.jacobian[:, others], rough.jacobian[:, others])


def smooth(place: Tensor) -> Tensor:
    """Return a picture (1, 3, H, W) that is smooth in its places (H, W, 2)."""
    x, y = place[..., 0], place[..., 1]
    waves = [torch.sin(5 * x + 2 * y + k) * torch.cos(4 * y - 3 * x + 2 * k) for k in range(3)]
    return 0.5 + 0.5 * torch.stack(waves)[None]


@torch.inference_mode()
def test_patches_follow_a_face_that_moves_turns_and_comes_nearer() -> None:
    net, rough = unsettled().detector, points(1)
    grid = pixel_grid(256, 256, torch.zeros(()))
    near = typical(similarity(0.0, 0.5))
    plain = net.refine(smooth(grid), rough, near)
    matrix, shift = similarity(0.5, 1.3), torch.tensor([0.1, -0.15])
    there = smooth((grid - shift) @ torch.linalg.inv(matrix).T)
    moved = net.refine(there, rough, near @ matrix.T + shift)
    rows = FOUND_IN_PATCHES
    expected = plain.value[:, rows] @ matrix.T + shift
    torch.testing.assert_close(moved.value[:, rows], expected, atol=2e-3, rtol=0)
    torch.testing.assert_close(moved.jacobian[:, rows], matrix @ plain.jacobian[:, rows], atol=5e-3, rtol=0)


@torch.inference_mode()
def test_the_left_eye_is_a_mirrored_right_eye() -> None:
    net, picture, rough = unsettled().detector, pictures(2), points(2)
    near = torch.cat([typical(similarity(0.3, 0.7), 0.1), typical(similarity(-0.2, 0.9), 0.0, -0.2)])
    plain = net.refine(picture, rough, near)
    mirrored = net.refine(picture.flip(3), rough, near[:, SIDES] @ MIRROR)
    eyes = [0, 1]
    torch.testing.assert_close(mirrored.value[:, eyes], plain.value[:, [1, 0]] @ MIRROR, atol=1e-4, rtol=0)
    expected = MIRROR @ plain.jacobian[:, [1, 0]] @ MIRROR
    torch.testing.assert_close(mirrored.jacobian[:, eyes], expected, atol=1e-4, rtol=0)
    assert (plain.jacobian[:, 0] - plain.jacobian[:, 1]).abs().max() > 0.01


def test_no_gradient_reaches_the_places_of_patches() -> None:
    net, rough = unsettled().detector, points(1)
    value = rough.value.requires_grad_()
    found = net.refine(pictures(1), Points(value, rough.jacobian))
    (gradient,) = torch.autograd.grad(found.value.sum(), value)
    assert not gradient[:, FOUND_IN_PATCHES].any()
    assert (gradient[:, [2, 6, 8, 9]] == 1).all()


@torch.inference_mode()
def test_equal_points_give_the_source_as_the_warped_picture() -> None:
    network = untrained()
    source = network.encode(pictures(1), points(1))
    frame, warped = network.generator(source, network.motion(source, points(1)))
    assert frame.shape == warped.shape == (1, 3, 256, 256)
    # Up to the border: the flow goes on linearly beyond the centres of the coarse grid.
    torch.testing.assert_close(warped, source.picture, atol=1e-3, rtol=0)
    # A fresh generator draws that, nearly, and grey where it leaves any room.
    alpha = torch.sigmoid(torch.tensor(1.0))
    assert (frame - alpha * warped - (1 - alpha) * 0.5).abs().mean() < 0.05


@torch.inference_mode()
def test_motion_is_that_of_the_points_where_the_network_adds_none() -> None:
    network = untrained()
    # All points shifted alike, and a mask that leaves nothing to the background.
    network.motion.head.weight.zero_()
    assert network.motion.head.bias is not None
    network.motion.head.bias[:4] = -100
    source = network.encode(pictures(1), points(1))
    shift = torch.tensor([0.125, -0.25])
    motion = network.motion(source, Points(points(1).value + shift, points(1).jacobian))
    torch.testing.assert_close(motion.flow[0], pixel_grid(64, 64, motion.flow) - shift, atol=1e-5, rtol=0)
    assert motion.heat.shape == (1, 12, 64, 64)
    assert motion.occlusion.unique().tolist() == [0.5]


@torch.inference_mode()
def test_a_window_warps_its_part_of_the_whole() -> None:
    network = unsettled()
    source = network.encode(pictures(1), points(1))
    driving = Points(points(1).value + 0.05, points(1).jacobian * 1.1)
    motion = network.motion(source, driving, network.config.glance)
    _, whole = network.generator(source, motion)
    frame, part = network.generator(source, motion, Window(8, 12, 32))
    assert frame.shape == (1, 3, 128, 128)
    torch.testing.assert_close(part, whole[..., 32:160, 48:176])
    frame, _ = network.generator(source, motion, Window(0, 0, 64))
    torch.testing.assert_close(frame, network.render(source, driving))


@torch.inference_mode()
def test_one_source_expanded_renders_as_many_repeated() -> None:
    network, driving = unsettled(), points(6, seed=1)
    source = network.encode(pictures(1))
    expanded, repeated = source.expand(6), source.repeat(6)
    for name, one, many in zip(Source.names(), expanded.tensors(), repeated.tensors(), strict=True):
        assert len(one) == len(many) == 6, name
        assert one.stride(0) == 0, name  # not copied
        assert torch.equal(one, many), name
    frames = network.render(expanded, driving)
    torch.testing.assert_close(frames, network.render(repeated, driving), atol=1e-5, rtol=0)
    assert (frames[0] - frames[1]).abs().max() > 0.01


@torch.inference_mode()
def test_each_of_many_sources_is_repeated_in_a_row() -> None:
    network, driving = unsettled(), points(4, seed=1)
    both = network.encode(pictures(2)).repeat(2)
    for index, picture in enumerate(pictures(2)):
        part = slice(2 * index, 2 * index + 2)
        alone = network.encode(picture[None]).expand(2)
        for one, many in zip(alone.tensors(), both.tensors(), strict=True):
            torch.testing.assert_close(many[part], one, atol=1e-5, rtol=0)
        mine = Points(driving.value[part], driving.jacobian[part])
        frames = network.render(Source(*(tensor[part] for tensor in both.tensors())), mine)
        torch.testing.assert_close(frames, network.render(alone, mine), atol=1e-4, rtol=0)


@pytest.mark.parametrize("value", [0.0, 1e4, -1e4])
@torch.inference_mode()
def test_whatever_numbers_arrive_the_frame_is_finite(value: float) -> None:
    network = unsettled()
    source = network.encode(pictures(1))
    assert torch.isfinite(network.render(source, Points.from_flat(torch.full((1, 60), value)))).all()


class Uploads(TorchFunctionMode):
    """Notes tensors made from Python's numbers: on a GPU each is an upload, which no CUDA graph records."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in (torch.tensor, torch.as_tensor) and not isinstance(args[0], Tensor):
            self.seen.append(str(args))
        return func(*args, **(kwargs or {}))


@torch.inference_mode()
def test_a_pass_that_was_warmed_up_uploads_nothing() -> None:
    network = untrained()

    def passes() -> None:
        source = network.encode(pictures(1))
        network.render(source, Points.from_flat(source.points))

    passes()
    with Uploads() as uploads:
        passes()
        assert not uploads.seen
        torch.tensor([1.0])
    assert uploads.seen


def test_what_was_first_used_without_gradients_serves_training_too() -> None:
    for kept in (geometry._enlarging, detector._typical):
        kept.cache_clear()
    with torch.inference_mode():
        network = untrained()
        network.render(network.encode(pictures(1)), network.detector(pictures(1)))
    network = untrained().train()
    found = network.detector(pictures(2))
    network.render(network.encode(pictures(2)), found).mean().backward()
    assert network.detector.whole.heatmaps.weight.grad is not None


def test_sizes_survive_the_way_through_json() -> None:
    assert LiteConfig.from_map(LiteConfig().to_map()) == LiteConfig()
    assert LiteConfig.from_map(TINY.to_map()) == TINY
    assert LiteConfig.from_map({**TINY.to_map(), "variance": 1}).variance == 1.0


def test_weights_that_name_no_heat_have_the_larger_one() -> None:
    sizes = {name: value for name, value in TINY.to_map().items() if name != "heat"}
    assert LiteConfig.from_map(sizes) == replace(TINY, heat=64)


@pytest.mark.parametrize("heat", [32, 64])
def test_heatmaps_are_as_large_as_the_config_says(heat: int) -> None:
    network = untrained(config=replace(TINY, heat=heat))
    shapes = []
    network.detector.whole.body.register_forward_hook(lambda *given: shapes.append(given[2].shape))
    assert network.detector(pictures(2)).value.shape == (2, 10, 2)
    assert shapes == [(2, 8, heat, heat)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("detector", (8, 8, 8)),
        ("detector", [8, 8, 8]),
        ("detector", "888"),
        ("heat", 128),
        ("heat", True),
        ("heat", "32"),
        ("patches", [8, 8]),
        ("patches", [8, 8, None]),
        ("motion", [8, 8, 10**9]),
        ("motion", [8, 8, 8.0]),
        ("generator", [8, 8, 0]),
        ("generator", [8, True, 8]),
        ("fine", 1025),
        ("fine", [8]),
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
    with pytest.raises(RequestError, match=name) as caught:
        LiteConfig.from_map({**TINY.to_map(), name: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("values", [None, [], "lite", {}, {**TINY.to_map(), "more": 1}, FORMER])
def test_a_config_of_something_else_or_older_is_refused(values: Any) -> None:
    with pytest.raises(RequestError, match="not those of this version; train it again") as caught:
        LiteConfig.from_map(values)
    assert "\n" not in str(caught.value)
