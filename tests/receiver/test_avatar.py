"""Pictures of the user's own, of every kind that people have, with the head where networks expect it."""

import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageCms

from models.build import load_head_finder
from receiver.avatar import load_avatar, no_face
from sender.demo import pose_at
from shared.constants import SIZE, SIZES
from shared.errors import RequestError
from shared.keypoints import Pictures
from shared.media.heads import Head, HeadFinder
from shared.media.squares import FACE_SIZE, FACE_X, FACE_Y
from shared.media.stills import HEIF_PLUGINS
from shared.portrait.portrait import Portrait


def nobody(picture: Pictures) -> list[Head]:  # noqa: ARG001
    """See no head in any picture."""
    return []


def load(path: Path) -> Pictures:
    """Return the middle of the picture at `path`, unless it is refused."""
    return load_avatar(path, (SIZE,), nobody, id)


def test_the_centre_square_is_taken_in_rgb(tmp_path: Path) -> None:
    wide = np.zeros((300, 500, 3), np.uint8)
    wide[:, 100:400] = (200, 100, 50)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    avatar = load(tmp_path / "wide.png")
    assert (avatar.shape, avatar.dtype) == ((256, 256, 3), np.uint8)
    np.testing.assert_array_equal(avatar[128, [2, 128, 253]], [(200, 100, 50)] * 3)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1", "CMYK"])
def test_every_kind_of_picture_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tiff" if mode == "CMYK" else "a.png")
    Image.new(mode, (40, 30)).save(path)
    assert load(path).shape == (256, 256, 3)


@pytest.mark.parametrize("name", ["a.png", "a.webp"])
def test_what_is_transparent_is_white(tmp_path: Path, name: str) -> None:
    pixels = np.full((64, 64, 4), (255, 0, 255, 0), np.uint8)
    pixels[16:48, 16:48] = (10, 120, 20, 255)
    Image.fromarray(pixels).save(tmp_path / name, lossless=True, exact=True)
    avatar = load(tmp_path / name)
    np.testing.assert_array_equal(avatar[[5, 128], [5, 128]], [(255, 255, 255), (10, 120, 20)])


def test_sixteen_bits_of_grey_are_scaled(tmp_path: Path) -> None:
    Image.fromarray(np.full((64, 64), 100 * 257, np.uint16)).save(tmp_path / "a.png")
    assert (load(tmp_path / "a.png") == 100).all()


def test_sixteen_bits_of_colour_are_scaled(tmp_path: Path) -> None:
    frame = av.VideoFrame.from_ndarray(
        np.full((64, 64, 3), (100 * 257, 7 * 257, 250 * 257), np.uint16), "rgb48le"
    )
    encoder = av.CodecContext.create("png", "w")
    encoder.width = encoder.height = 64
    encoder.pix_fmt, encoder.time_base = "rgb48be", Fraction(1)
    data = b"".join(map(bytes, encoder.encode(frame.reformat(format="rgb48be"))))
    (tmp_path / "a.png").write_bytes(data)
    assert load(tmp_path / "a.png")[128, 128] == pytest.approx([100, 7, 250], abs=1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_a_photo_stands_as_its_camera_was_held(tmp_path: Path, name: str, orientation: int) -> None:
    """By the words of the standard (CIPA DC-008): which sides of the scene row 0 and column 0 are."""
    sides = ("top left", "top right", "bottom right", "bottom left",
             "left top", "right top", "right bottom", "left bottom")[orientation - 1].split()  # fmt: skip
    scene = np.zeros((64, 64, 3), np.uint8)
    scene[:32, :32], scene[:32, 32:], scene[32:, :32] = 255, 150, 80
    # Rows are stored from the first side on, columns from the second.
    stored = scene if sides[0] in ("top", "bottom") else scene.transpose(1, 0, 2)
    stored = stored[::-1] if sides[0] in ("bottom", "right") else stored
    stored = stored[:, ::-1] if sides[1] in ("bottom", "right") else stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / name, exif=exif)
    seen = load(tmp_path / name)
    assert seen[[64, 64, 192, 192], [64, 192, 64, 192], 0] == pytest.approx([255, 150, 80, 0], abs=6)


def test_colours_are_those_of_the_profile(tmp_path: Path) -> None:
    """Ink that is only there as numbers is looked up; here a profile whose red and green are changed over."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    Image.new("RGB", (64, 64), (200, 0, 0)).save(tmp_path / "a.png", icc_profile=bytes(profile))
    assert load(tmp_path / "a.png")[9, 9] == pytest.approx([0, 200, 0], abs=3)
    Image.new("RGB", (64, 64), (200, 0, 0)).save(tmp_path / "b.png", icc_profile=b"no profile")
    assert load(tmp_path / "b.png")[9, 9].tolist() == [200, 0, 0]


def test_cmyk_of_a_camera_ready_jpeg(tmp_path: Path) -> None:
    Image.new("CMYK", (64, 64), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    assert load(tmp_path / "a.jpg")[9, 9] == pytest.approx([255, 0, 0], abs=4)


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
def test_the_first_frame_of_what_moves_is_taken(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=40, lossless=True)
    assert load(tmp_path / name)[99, 99] == pytest.approx([255, 0, 0], abs=2)


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40), (12, 200, 34)).quantize(4).save(tmp_path / "a.png")
    assert load(tmp_path / "a.png")[9, 9].tolist() == [12, 200, 34]


def test_heic_is_named_with_what_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for plugin in HEIF_PLUGINS:
        monkeypatch.setitem(sys.modules, plugin, None)
    for name, brands in (("a.heic", b"heic....mif1"), ("b.jpg", b"mif1....miafheic")):
        data = (8 + len(brands)).to_bytes(4, "big") + b"ftyp" + brands + bytes(100)
        (tmp_path / name).write_bytes(data)
        with pytest.raises(RequestError, match=r"it is HEIC.*pip install pillow-heif.*--avatar\.$"):
            load(tmp_path / name)


def test_heic_is_read_where_a_plugin_is_installed(tmp_path: Path) -> None:
    plugin = pytest.importorskip("pillow_heif")
    heif = plugin.from_pillow(Image.new("RGB", (64, 64), (200, 60, 40)))
    heif.save(tmp_path / "a.heic")
    assert load(tmp_path / "a.heic")[32, 32].astype(int) == pytest.approx([200, 60, 40], abs=12)


def full_length(at: tuple[int, int], side: int) -> Pictures:
    """Return 1080x1920 of a person who stands in a room; the drawn head's picture is `side` wide."""
    canvas = np.full((1920, 1080, 3), 150, np.uint8)
    canvas[at[1] + side // 2 : 1800, at[0] - 160 : at[0] + 160] = (20, 110, 120)
    head = Image.fromarray(Portrait().draw(pose_at(2.0))).resize((side, side))
    canvas[at[1] - side // 2 :][:side, at[0] - side // 2 :][:, :side] = np.asarray(head)
    return canvas


@pytest.mark.slow
@pytest.mark.parametrize(("at", "side"), [((560, 400), 300), ((300, 620), 500), ((760, 330), 200)])
def test_the_head_is_framed_as_a_sender_frames_it(tmp_path: Path, at: tuple[int, int], side: int) -> None:
    picture = full_length(at, side)
    Image.fromarray(picture).save(tmp_path / "a.png")
    notes: list[str] = []
    find = load_head_finder()
    framed = load_avatar(tmp_path / "a.png", (SIZE,), find, notes.append)
    (head, *_) = find(framed)
    assert (head.x / SIZE, head.y / SIZE) == pytest.approx((FACE_X, FACE_Y), abs=0.12)
    assert 0.7 < head.size / SIZE / FACE_SIZE < 1.4
    assert not notes


def test_without_a_face_the_middle_is_taken_and_said(tmp_path: Path) -> None:
    picture = np.full((200, 400, 3), 90, np.uint8)
    picture[:, 100:300] = 140
    Image.fromarray(picture).save(tmp_path / "a.png")
    notes: list[str] = []
    avatar = load_avatar(tmp_path / "a.png", (SIZE,), load_head_finder(), notes.append)
    assert (avatar == 140).all()
    assert notes == [no_face(tmp_path / "a.png")]


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
        load(tmp_path / "a.png")


@pytest.mark.slow
def test_a_picture_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    with pytest.raises(RequestError, match="Cannot read the picture"):
        load(tmp_path / "bomb.png")


def test_a_picture_is_taken_as_large_as_it_is_and_is_known(tmp_path: Path) -> None:
    """The square around a head of 300 pixels has 550: 512 of them fill the largest picture."""
    Image.new("RGB", (1280, 720), "grey").save(tmp_path / "a.png")

    def find(size: float) -> HeadFinder:
        return lambda picture: [Head(640, 340, size)] if picture.shape[1] == 1280 else []

    sides = [len(load_avatar(tmp_path / "a.png", SIZES, find(size), id)) for size in (80, 230, 300)]
    assert sides == [256, 384, 512]
