import numpy as np
import pytest

from sender.reference import reference_picture
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
    np.testing.assert_allclose(picture.decode(reference_picture(Source(first))), first, atol=3)


def test_a_video_without_a_picture_is_refused() -> None:
    with pytest.raises(RequestError, match="no picture"):
        reference_picture(Source(None))
