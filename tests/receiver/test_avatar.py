from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from receiver.avatar import load_avatar
from shared.errors import RequestError


def test_the_centre_square_is_taken_in_rgb(tmp_path: Path) -> None:
    wide = np.zeros((300, 500, 3), np.uint8)
    wide[:, 100:400] = (200, 100, 50)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    avatar = load_avatar(tmp_path / "wide.png", 256)
    assert (avatar.shape, avatar.dtype) == ((256, 256, 3), np.uint8)
    np.testing.assert_array_equal(avatar[128, [2, 128, 253]], [(200, 100, 50)] * 3)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1", "CMYK"])
def test_every_kind_of_picture_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tiff" if mode == "CMYK" else "a.png")
    Image.new(mode, (40, 30)).save(path)
    assert load_avatar(path, 256).shape == (256, 256, 3)


@pytest.mark.parametrize("name", ["a.png", "a.webp"])
def test_what_is_transparent_is_white(tmp_path: Path, name: str) -> None:
    pixels = np.full((64, 64, 4), (255, 0, 255, 0), np.uint8)
    pixels[16:48, 16:48] = (10, 120, 20, 255)
    Image.fromarray(pixels).save(tmp_path / name, lossless=True, exact=True)
    avatar = load_avatar(tmp_path / name, 256)
    np.testing.assert_array_equal(avatar[[5, 128], [5, 128]], [(255, 255, 255), (10, 120, 20)])


def test_sixteen_bits_of_grey_are_scaled(tmp_path: Path) -> None:
    Image.fromarray(np.full((64, 64), 100 * 257, np.uint16)).save(tmp_path / "a.png")
    assert (load_avatar(tmp_path / "a.png", 256) == 100).all()


def test_a_photo_taken_upright_stays_upright(tmp_path: Path) -> None:
    sideways = np.zeros((64, 64, 3), np.uint8)
    sideways[:, :32] = 255  # left is bright; turned by 90 degrees to the right, the top is
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(sideways).save(tmp_path / "photo.jpg", exif=exif)
    avatar = load_avatar(tmp_path / "photo.jpg", 256)
    assert avatar[30, 128].min() > 200
    assert avatar[220, 128].max() < 50


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "No such file or directory"),
        (b"", "not a picture"),
        (b"GIF89a nothing more", "not a picture"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(13), "not a picture"),
    ],
)
def test_a_file_that_is_no_picture_is_refused(tmp_path: Path, content: bytes | None, cause: str) -> None:
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(RequestError, match=rf"^Cannot read the picture .*a\.png: .*{cause}.*--avatar\.$"):
        load_avatar(tmp_path / "a.png", 256)


def test_a_picture_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    with pytest.raises(RequestError, match="Cannot read the picture"):
        load_avatar(tmp_path / "bomb.png", 256)
