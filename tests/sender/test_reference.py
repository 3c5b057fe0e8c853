import numpy as np
import pytest

from sender.reference import first_picture, reference_pictures
from shared.errors import RequestError
from shared.keypoints import Pictures
from shared.media import picture


class Source:
    live, scene = False, 0

    def __init__(self, first: Pictures | None) -> None:
        self._first = first

    def frame(self, n: int) -> Pictures | None:
        assert n == 0
        return self._first

    def close(self) -> None:
        pass


def test_the_first_picture_is_sent() -> None:
    first = np.full((256, 256, 3), 90, np.uint8)
    usual, larger = reference_pictures(first_picture(Source(first)), 256)
    np.testing.assert_allclose(picture.decode(usual), first, atol=3)
    assert larger is None


def test_a_larger_one_goes_beside_the_usual_one() -> None:
    """Which of them the receiver takes is not known before the call."""
    first = np.full((512, 512, 3), 90, np.uint8)
    usual, larger = reference_pictures(first_picture(Source(first)), 256)
    np.testing.assert_allclose(picture.decode(usual), first[:256, :256], atol=3)
    assert larger is not None
    assert larger.size == 512
    np.testing.assert_allclose(picture.decode(larger.data, 512), first, atol=3)


def test_a_video_without_a_picture_is_refused() -> None:
    with pytest.raises(RequestError, match="no frames"):
        first_picture(Source(None))
