import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models.lite.geometry import (
    AffineMotions,
    axis,
    drawn_heat,
    enlarged_flow,
    halved,
    inverse_2x2,
    pixel_grid,
    product_2x2,
    unshuffled,
    warp,
)

torch.set_num_threads(1)
Side = tuple[Tensor, Tensor]
EYE = torch.eye(2).expand(1, 3, 2, 2)
HOSTILE = pytest.mark.parametrize(
    "rows",
    [
        [[0.0, 0.0], [0.0, 0.0]],
        [[1.0, 2.0], [2.0, 4.0]],
        [[1e4, 1e4], [1e4, 1e4]],
        [[1e-30, 0.0], [0.0, -1e-30]],
        [[1e4, -1e4], [1e4, 1e4]],
    ],
)


def points(seed: int = 0) -> Tensor:
    return torch.rand(1, 3, 2, generator=torch.Generator().manual_seed(seed)) - 0.5


def jacobians(seed: int) -> Tensor:
    return EYE + 0.3 * torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(seed))


def picture() -> Tensor:
    return torch.rand(1, 2, 8, 12, generator=torch.Generator().manual_seed(9))


def motions(source: Side, driving: Side) -> Tensor:
    flows = AffineMotions(source, driving).flows(6)
    assert flows.shape == (1, 4, 6, 6, 2)
    return flows


def in_order(parted: Tensor) -> Tensor:
    """Undo the order of a picture (..., 2h, 2w) whose even rows and columns come before the odd ones."""
    whole = torch.empty_like(parted)
    height, width = parted.shape[-2] // 2, parted.shape[-1] // 2
    for row in (0, 1):
        for column in (0, 1):
            part = parted[..., row * height :, column * width :]
            whole[..., row::2, column::2] = part[..., :height, :width]
    return whole


def flow_in_order(flow: Tensor) -> Tensor:
    return in_order(flow.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def test_a_pixel_stands_at_its_centre() -> None:
    grid = pixel_grid(2, 4, torch.zeros(()))
    assert grid.shape == (2, 4, 2)
    np.testing.assert_allclose(grid[0, :, 0], [-0.75, -0.25, 0.25, 0.75])
    np.testing.assert_allclose(grid[:, 3, 1], [-0.5, 0.5])
    assert pixel_grid(2, 2, torch.zeros((), dtype=torch.float64)).dtype == torch.float64
    np.testing.assert_allclose(axis(4, torch.zeros(())), grid[0, :, 0])


def test_heat_has_its_closed_form() -> None:
    centre = pixel_grid(8, 8, torch.zeros(()))[5, 2][None, None]
    heat = drawn_heat(centre, torch.eye(2)[None, None], 8, variance=0.25**2)
    assert heat.shape == (1, 1, 8, 8)
    assert heat[0, 0, 5, 2] == 1
    # Pixels stand 0.25, one standard deviation, apart.
    np.testing.assert_allclose(heat[0, 0, 5, 3], np.exp(-0.5), rtol=1e-6)
    np.testing.assert_allclose(heat[0, 0, 3, 3], np.exp(-2.5), rtol=1e-6)
    # Sheared: inv(J) (1, 0) = (1, 0), inv(J) (0, 1) = (-2, 2), in standard deviations.
    sheared = drawn_heat(centre, torch.tensor([[1.0, 1.0], [0.0, 0.5]])[None, None], 8, variance=0.25**2)
    np.testing.assert_allclose(sheared[0, 0, 5, 3], np.exp(-0.5), rtol=1e-5)
    np.testing.assert_allclose(sheared[0, 0, 6, 2], np.exp(-4), rtol=1e-5)
    np.testing.assert_allclose(sheared[0, 0, 6, 3], np.exp(-0.5 * (1 + 4)), rtol=1e-5)


def test_a_flat_jacobian_draws_a_thin_ellipse() -> None:
    middle = torch.zeros(1, 2, 2)
    flat, turned = torch.diag(torch.tensor([1.0, 0.2])), torch.tensor([[0.0, -0.2], [1.0, 0.0]])
    lying, standing = drawn_heat(middle, torch.stack([flat, turned])[None], 64, variance=0.1)[0] > 0.5
    widths, heights = lying.any(0).sum(), lying.any(1).sum()
    assert widths > 4 * heights > 0
    assert torch.equal(standing, lying.T)
    # Twice as open, twice as high, and as wide as before.
    opener = drawn_heat(middle[:, :1], torch.diag(torch.tensor([1.0, 0.4]))[None, None], 64, variance=0.1)
    assert (opener[0, 0] > 0.5).any(0).sum() == widths
    assert (opener[0, 0] > 0.5).any(1).sum() == pytest.approx(2 * int(heights), abs=2)


def test_the_inverse_is_the_inverse() -> None:
    matrices = torch.randn(50, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    matrices = matrices[torch.linalg.det(matrices).abs() > 0.01]
    torch.testing.assert_close(inverse_2x2(matrices), torch.linalg.inv(matrices))


def test_the_product_is_the_product_even_under_autocast() -> None:
    a, b = torch.randn(2, 7, 5, 2, 2, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        product = product_2x2(a, b[:1])
    torch.testing.assert_close(product, a @ b[:1])


def test_equal_points_do_not_move_anything() -> None:
    found = motions((points(), jacobians(2)), (points(), jacobians(2)))
    grid = pixel_grid(6, 6, points())
    torch.testing.assert_close(found, grid.expand(1, 4, 6, 6, 2), atol=1e-5, rtol=0)


def test_shifted_points_shift_every_pixel_but_the_background() -> None:
    shift = torch.tensor([0.2, -0.1])
    found = motions((points() + shift, EYE), (points(), EYE))
    grid = pixel_grid(6, 6, points())
    torch.testing.assert_close(found[0, 0], grid)
    torch.testing.assert_close(found[0, 1:], (grid + shift).expand(3, 6, 6, 2))


def test_points_carried_by_an_affine_map_give_back_that_map() -> None:
    matrix, shift = torch.tensor([[1.1, -0.4], [0.3, 0.8]]), torch.tensor([0.1, 0.05])
    source = points() @ matrix.T + shift, matrix @ jacobians(3)
    found = motions(source, (points(), jacobians(3)))
    expected = pixel_grid(6, 6, points()) @ matrix.T + shift
    torch.testing.assert_close(found[0, 1:], expected.expand(3, 6, 6, 2), atol=1e-5, rtol=0)


@HOSTILE
def test_no_jacobian_gives_an_infinite_motion_or_heat(rows: list[list[float]]) -> None:
    hostile = torch.tensor(rows).expand(1, 3, 2, 2)
    found = motions((points(), hostile), (points() * 2e4, hostile))
    assert torch.isfinite(found).all()
    heat = drawn_heat(points() * 2e4, hostile, 6, variance=0.01)
    assert torch.isfinite(heat).all()
    assert heat.min() >= 0
    assert heat.max() <= 1
    assert torch.isfinite(enlarged_flow(found[0], (0, 0, 6))).all()
    warped = warp(torch.rand(4, 2, 8, 8), found[0])
    assert torch.isfinite(warped).all()
    assert warped.min() >= 0
    assert warped.max() <= 1


def test_a_nearly_singular_jacobian_keeps_its_orientation() -> None:
    mirrored = torch.diag(torch.tensor([1e-3, -1e-3]))
    assert torch.linalg.det(inverse_2x2(mirrored)) < 0


def test_warping_by_no_motion_changes_nothing() -> None:
    flow = pixel_grid(8, 12, picture())[None]
    torch.testing.assert_close(warp(picture(), flow), picture(), atol=1e-5, rtol=0)


def test_warping_by_whole_pixels_shifts_and_repeats_the_border() -> None:
    flow = pixel_grid(8, 12, picture())[None] + torch.tensor([2 * 2 / 12, 0.0])
    warped = warp(picture(), flow)
    torch.testing.assert_close(warped[..., :-2], picture()[..., 2:], atol=1e-5, rtol=0)
    torch.testing.assert_close(warped[..., -2:], picture()[..., -1:].expand(1, 2, 8, 2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("factor", [2, 4])
def test_an_enlarged_affine_flow_is_the_affine_flow_of_the_finer_grid_up_to_the_border(factor: int) -> None:
    matrix, shift = torch.tensor([[0.9, 0.2], [-0.1, 1.1]]), torch.tensor([0.1, -0.2])
    coarse, fine = (pixel_grid(size, size, matrix) @ matrix.T + shift for size in (8, 8 * factor))
    enlarged = enlarged_flow(coarse[None], (0, 0, 8), factor)
    torch.testing.assert_close(flow_in_order(enlarged), fine[None])


def test_an_enlarged_flow_is_linear_between_the_centres() -> None:
    flow = torch.rand(2, 8, 8, 2, generator=torch.Generator().manual_seed(4))
    enlarged = flow_in_order(enlarged_flow(flow, (0, 0, 8))).permute(0, 3, 1, 2)
    usual = F.interpolate(flow.permute(0, 3, 1, 2), scale_factor=4, mode="bilinear")
    inside = slice(2, -2)
    torch.testing.assert_close(enlarged[..., inside, inside], usual[..., inside, inside])
    # Where the usual one stops at the outermost centre, this one goes on.
    assert not torch.allclose(enlarged[..., 0, inside], usual[..., 0, inside], atol=1e-3)


def test_windows_of_an_enlarged_flow_are_its_parts() -> None:
    flow = torch.rand(2, 16, 16, 2, generator=torch.Generator().manual_seed(4))
    whole = flow_in_order(enlarged_flow(flow, (0, 0, 16)))
    for top, left, size in ((0, 0, 8), (8, 8, 8), (4, 0, 12), (3, 5, 8)):
        part = flow_in_order(enlarged_flow(flow, (top, left, size)))
        expected = whole[:, 4 * top : 4 * (top + size), 4 * left : 4 * (left + size)]
        torch.testing.assert_close(part, expected)


def test_a_flow_keeps_its_precision_under_autocast() -> None:
    flow = torch.rand(1, 8, 8, 2, generator=torch.Generator().manual_seed(4))
    with torch.autocast("cpu", torch.bfloat16):
        enlarged = enlarged_flow(flow, (0, 0, 8))
    torch.testing.assert_close(enlarged, enlarged_flow(flow, (0, 0, 8)), rtol=0, atol=0)


def test_what_is_sampled_by_parts_is_unshuffled_without_moving_elements_singly() -> None:
    parted = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(unshuffled(parted), F.pixel_unshuffle(in_order(parted), 2), rtol=0, atol=0)


def test_a_mix_of_motions_is_the_motion_of_the_mix() -> None:
    generator = torch.Generator().manual_seed(4)
    jacobian = EYE + 0.3 * torch.randn(1, 3, 2, 2, generator=generator)
    affine = AffineMotions((points(1), EYE), (points(), jacobian))
    shares = torch.softmax(torch.randn(1, 4, 6, 6, generator=generator), dim=1)
    expected = (shares[..., None] * affine.flows(6)).sum(1)
    torch.testing.assert_close(torch.stack(affine.mixed(shares), -1), expected, atol=1e-5, rtol=0)


def test_a_halved_picture_has_the_means_of_its_pixels() -> None:
    whole = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(halved(whole), F.avg_pool2d(whole, 2))
