"""Squares are cut out where they are asked for, and never outside of the picture."""

from __future__ import annotations

import numpy as np
import pytest

from sender.crop import Crop, centre_square
from shared.errors import RequestError


def test_parse_reads_what_str_writes() -> None:
    assert Crop.parse("420,0,1080") == Crop(420, 0, 1080)
    assert str(Crop.parse("420,0,1080")) == "420,0,1080"


@pytest.mark.parametrize(
    "text", ["", "1,2", "1,2,3,4", "a,0,100", "-1,0,100", "1.5,0,100", "0,0,15", "0,0,999999", "٣,0,100"]
)
def test_parse_refuses(text: str) -> None:
    with pytest.raises(RequestError):
        Crop.parse(text)


def test_centre_square() -> None:
    assert centre_square(1920, 1080) == Crop(420, 0, 1080)
    assert centre_square(480, 640) == Crop(0, 80, 480)


@pytest.mark.parametrize("size", [100, 256, 500])
def test_the_square_that_was_asked_for_fills_the_picture(size: int) -> None:
    picture = np.zeros((600, 700, 3), np.uint8)
    picture[40 : 40 + size, 90 : 90 + size] = (10, 200, 60)
    cut = Crop(90, 40, size).apply(picture)
    assert cut.shape == (256, 256, 3)
    assert cut.dtype == np.uint8
    assert (cut == (10, 200, 60)).all()


def test_fine_stripes_are_averaged_and_do_not_alias() -> None:
    stripes = np.zeros((1080, 1080, 3), np.uint8)
    stripes[:, ::2] = 255
    cut = Crop(0, 0, 1080).apply(stripes)
    assert np.abs(cut[:, 8:-8].astype(int) - 127).max() <= 8


@pytest.mark.parametrize("crop", [Crop(1, 0, 480), Crop(0, 161, 480), Crop(0, 0, 641), Crop(700, 0, 16)])
def test_outside_of_the_picture_names_its_size(crop: Crop) -> None:
    with pytest.raises(RequestError, match=r"480x640"):
        crop.apply(np.zeros((640, 480, 3), np.uint8))
