import numpy as np
import pytest

from models.checks import check_keypoints, check_pictures
from models.lite.layout import DIMENSIONS
from shared.errors import RequestError


@pytest.mark.parametrize(
    "pictures",
    [
        np.zeros((1, 8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((1, 8, 9, 3), np.uint8),
        np.zeros((1, 8, 8, 4), np.uint8),
        np.zeros((0, 8, 8, 3), np.uint8),
    ],
)
def test_wrong_pictures_are_refused(pictures: np.ndarray) -> None:
    with pytest.raises(RequestError, match="8x8 RGB pictures of 8 bits"):
        check_pictures(pictures, (8,))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e5, -1e30])
def test_keypoints_no_frame_can_have_are_refused(bad: float) -> None:
    keypoints = np.zeros((2, 60), np.float32)
    check_keypoints(keypoints, DIMENSIONS)
    keypoints[1, 59] = bad
    with pytest.raises(RequestError, match="NaN, infinity or positions far outside"):
        check_keypoints(keypoints, DIMENSIONS)


@pytest.mark.parametrize("shape", [(60,), (1, 59), (0, 60), (1, 10, 6)])
def test_keypoints_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(RequestError, match=r"shape \(B, 60\)"):
        check_keypoints(np.zeros(shape, np.float32), DIMENSIONS)
