"""Crops show what the box is around, upright, and lead back to where it was."""

import numpy as np
import pytest

from models.landmarks.crops import Box, cut
from shared.keypoints import Pictures


def slopes(width: int = 120, height: int = 90) -> Pictures:
    """Return a picture whose red tells the column and whose green tells the row."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0] = 2 * np.arange(width)
    picture[..., 1] = 2 * np.arange(height)[:, None]
    return picture


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle", [0.0, 0.5, -2.0])
def test_every_pixel_leads_back_to_its_place(angle: float, mirrored: bool) -> None:
    seen = cut(slopes(), Box(60, 45, 40, angle), 32, mirrored=mirrored)
    assert seen.pixels.shape == (1, 32, 32, 3)
    for row, column in ((3, 5), (16, 16), (30, 1)):
        x, y, depth = seen.back(np.array([[column + 0.5, row + 0.5, 8.0]], np.float32))[0]
        assert 255 * seen.pixels[0, row, column, :2] / 2 + 0.5 == pytest.approx([x, y], abs=0.6)
        assert depth == pytest.approx(8 * 40 / 32)


def test_the_mirror_image_is_the_crop_turned_over() -> None:
    box = Box(61.3, 40.2, 50, 0.3)
    straight, mirrored = cut(slopes(), box, 24), cut(slopes(), box, 24, mirrored=True)
    np.testing.assert_allclose(straight.pixels[0, :, ::-1], mirrored.pixels[0], atol=1.5 / 255)


def test_outside_the_border_repeats() -> None:
    seen = cut(slopes(), Box(0, 45, 40), 40).pixels[0]
    assert (seen[:, :19, 0] == 0).all()
    assert seen[20, 30, 0] > 0
    far = cut(slopes(), Box(-500, -500, 40), 16).pixels
    assert (far == 0).all()


def test_a_box_around_points_turns_with_their_line() -> None:
    points = np.array([[10.0, 20], [30, 25], [20, 60]])
    box = Box.around(points, np.array([[0.0, 0], [1, 1]]), 1.5)
    assert (box.x, box.y, box.side) == (20, 40, 60)
    assert box.angle == pytest.approx(np.pi / 4)
    # What is along the line stands level in the crop.
    a, b = (cut(slopes(), box, 64).back(np.array([[x, 32, 0]], np.float32))[0] for x in (10, 20))
    assert (b - a)[0] == pytest.approx((b - a)[1])


def test_movement_is_counted_in_sizes() -> None:
    box = Box(10, 10, 100)
    assert box.moved(Box(13, 14, 100)) == pytest.approx(0.05)
    assert box.moved(Box(10, 10, 120)) == pytest.approx(0.2)


def test_a_box_of_nothing_is_a_pixel() -> None:
    assert np.isfinite(cut(slopes(), Box(5, 5, 0.0), 8).pixels).all()
