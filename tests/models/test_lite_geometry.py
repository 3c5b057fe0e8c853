import numpy as np
import pytest
import torch
from torch import Tensor

from models.lite.geometry import gaussians, inverse_2x2, local_motions, pixel_grid, resize_flow, warp

torch.set_num_threads(1)
EYE = torch.eye(2).expand(1, 3, 2, 2)


def points(seed: int = 0) -> Tensor:
    return torch.rand(1, 3, 2, generator=torch.Generator().manual_seed(seed)) - 0.5


def picture() -> Tensor:
    return torch.rand(1, 2, 8, 12, generator=torch.Generator().manual_seed(9))


def test_a_pixel_stands_at_its_centre() -> None:
    grid = pixel_grid(2, 4, torch.zeros(()))
    assert grid.shape == (2, 4, 2)
    np.testing.assert_allclose(grid[0, :, 0], [-0.75, -0.25, 0.25, 0.75])
    np.testing.assert_allclose(grid[:, 3, 1], [-0.5, 0.5])
    assert pixel_grid(2, 2, torch.zeros((), dtype=torch.float64)).dtype == torch.float64


def test_a_gaussian_has_its_closed_form() -> None:
    centre = pixel_grid(8, 8, torch.zeros(()))[5, 2]
    heat = gaussians(centre[None, None], 8, 8, variance=0.25**2)
    assert heat.shape == (1, 1, 8, 8)
    assert heat[0, 0, 5, 2] == 1
    # Pixels stand 0.25, one standard deviation, apart.
    np.testing.assert_allclose(heat[0, 0, 5, 3], np.exp(-0.5), rtol=1e-6)
    np.testing.assert_allclose(heat[0, 0, 3, 3], np.exp(-2.5), rtol=1e-6)


def test_the_inverse_is_the_inverse() -> None:
    matrices = torch.randn(50, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    matrices = matrices[torch.linalg.det(matrices).abs() > 0.01]
    torch.testing.assert_close(inverse_2x2(matrices), torch.linalg.inv(matrices))


def test_equal_points_do_not_move_anything() -> None:
    jacobian = EYE + 0.3 * torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(2))
    motions = local_motions((points(), jacobian), (points(), jacobian), 6, 5)
    assert motions.shape == (1, 4, 6, 5, 2)
    grid = pixel_grid(6, 5, points())
    torch.testing.assert_close(motions, grid.expand(1, 4, 6, 5, 2), atol=1e-5, rtol=0)


def test_shifted_points_shift_every_pixel_but_the_background() -> None:
    shift = torch.tensor([0.2, -0.1])
    motions = local_motions((points() + shift, EYE), (points(), EYE), 6, 5)
    grid = pixel_grid(6, 5, points())
    torch.testing.assert_close(motions[0, 0], grid)
    torch.testing.assert_close(motions[0, 1:], (grid + shift).expand(3, 6, 5, 2))


def test_points_carried_by_an_affine_map_give_back_that_map() -> None:
    matrix, shift = torch.tensor([[1.1, -0.4], [0.3, 0.8]]), torch.tensor([0.1, 0.05])
    jacobian = EYE + 0.3 * torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(3))
    source = points() @ matrix.T + shift, matrix @ jacobian
    motions = local_motions(source, (points(), jacobian), 6, 5)
    expected = pixel_grid(6, 5, points()) @ matrix.T + shift
    torch.testing.assert_close(motions[0, 1:], expected.expand(3, 6, 5, 2), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "rows",
    [
        [[0.0, 0.0], [0.0, 0.0]],
        [[1.0, 2.0], [2.0, 4.0]],
        [[1e4, 1e4], [1e4, 1e4]],
        [[1e-30, 0.0], [0.0, -1e-30]],
        [[1e4, -1e4], [1e4, 1e4]],
    ],
)
def test_no_jacobian_gives_an_infinite_motion(rows: list[list[float]]) -> None:
    hostile = torch.tensor(rows).expand(1, 3, 2, 2)
    motions = local_motions((points(), hostile), (points() * 2e4, hostile), 6, 5)
    assert torch.isfinite(motions).all()
    warped = warp(torch.rand(4, 2, 8, 8), motions[0])
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


def test_a_resized_flow_says_the_same_of_finer_pixels() -> None:
    flow = pixel_grid(8, 8, picture())[None] * 0.5 + 0.1
    assert resize_flow(flow, 8, 8) is flow
    finer = resize_flow(flow, 32, 32)
    inside = slice(2, -2)
    expected = pixel_grid(32, 32, picture()) * 0.5 + 0.1
    torch.testing.assert_close(finer[0, inside, inside], expected[inside, inside])


def test_a_resized_affine_flow_is_the_affine_flow_of_the_finer_grid_up_to_the_border() -> None:
    matrix = torch.tensor([[0.9, 0.2], [-0.1, 1.1]])
    coarse, fine = (pixel_grid(size, size, matrix) @ matrix.T for size in (8, 32))
    torch.testing.assert_close(resize_flow(coarse[None], 32, 32), fine[None])
