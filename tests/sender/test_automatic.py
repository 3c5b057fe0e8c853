"""The square that follows the head, in files and cameras: what it looks at, and when."""

from __future__ import annotations

import itertools
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from models.build import load_head_finder
from sender.automatic import DARK, NO_HEAD, AutomaticFraming, is_dark
from sender.camera import CameraSource
from sender.capture import FileSource, open_source
from sender.crop import CentreSquare, Crop, parse_crop
from sender.demo import pose_at
from sender.framing import LOOK_S
from shared.errors import RequestError
from shared.keypoints import Pictures
from shared.media.heads import Head
from shared.media.squares import FACE_SIZE, cut
from shared.portrait.portrait import Portrait

FACE = 120


def scene(x: int = 150, y: int = 200, width: int = 640, height: int = 480, number: int = 0) -> Pictures:
    """Return a grey picture with a white square for a head."""
    picture = np.full((height, width, 3), 60 + number % 2, np.uint8)
    half = FACE // 2
    picture[max(0, y - half) : y + half, max(0, x - half) : x + half] = 250
    return picture


class WhiteFinder:
    """Finds the white square, and counts how often it was asked."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self, picture: Pictures) -> list[Head]:
        self.looks += 1
        rows, columns = np.nonzero(picture[..., 1] > 200)
        return [Head(float(columns.mean()), float(rows.mean()), len(rows) ** 0.5)] if len(rows) else []


class Notes(list[str]):
    """What the user was told."""

    def __call__(self, sentence: str) -> None:
        self.append(sentence)


def automatic() -> tuple[AutomaticFraming, WhiteFinder, Notes]:
    find, notes = WhiteFinder(), Notes()
    return AutomaticFraming(find, notes), find, notes


def white(picture: Pictures | None) -> tuple[float, float, float]:
    """Return middle and size of what is white in a sent picture, in its sides."""
    assert picture is not None
    assert picture.shape == (256, 256, 3)
    rows, columns = np.nonzero(picture[..., 1] > 200)
    return float(columns.mean()) / 256, float(rows.mean()) / 256, len(rows) ** 0.5 / 256


def write(path: Path, pictures: list[Pictures]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "10", "bf": "0"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture)
            frame.pts, frame.time_base = index, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_file_is_framed_before_its_first_picture(tmp_path: Path) -> None:
    framing, find, notes = automatic()
    source = FileSource(write(tmp_path / "a.mp4", [scene(number=n) for n in range(40)]), framing)
    assert white(source.frame(0)) == pytest.approx((0.5, 0.48, FACE_SIZE), abs=0.02)
    assert not notes
    looked = find.looks
    for number in range(1, 40):
        source.frame(number)
    assert find.looks - looked <= 40 / 30 / LOOK_S + 1


def test_a_head_that_shows_only_later_counts_too(tmp_path: Path) -> None:
    framing, _, notes = automatic()
    dark = np.zeros((480, 640, 3), np.uint8)
    source = FileSource(write(tmp_path / "a.mp4", [dark] * 4 + [scene()] * 36), framing)
    source.frame(10)
    assert white(source.frame(11)) == pytest.approx((0.5, 0.48, FACE_SIZE), abs=0.02)
    assert not notes


def test_without_a_head_the_centre_is_sent_and_one_note_says_so() -> None:
    framing, _, notes = automatic()
    picture = np.random.default_rng(0).integers(0, 150, (480, 640, 3)).astype(np.uint8)
    for second in range(5):
        framing.begin([picture] * 5) if second == 0 else None
        assert (framing.apply(picture, float(second)) == CentreSquare().apply(picture)).all()
    assert notes == [NO_HEAD]


def test_dark_is_what_nobody_can_be_seen_in() -> None:
    """A room by night with the light of a screen in it; one by day, with noise."""
    night = np.random.default_rng(0).integers(0, 40, (480, 640, 3)).astype(np.uint8)
    night[200:240, 300:360] = 255
    assert is_dark(night)
    assert not is_dark(np.clip(night.astype(int) + 60, 0, 255).astype(np.uint8))
    notes = Notes()
    AutomaticFraming(lambda _: [], notes).begin([night] * 5)
    assert notes == [DARK]


def test_what_leaves_no_choice_is_never_looked_at() -> None:
    framing, find, notes = automatic()
    picture = scene(128, 128, 256, 256)
    framing.begin([picture])
    assert (framing.apply(picture, 1.0) == picture).all()
    assert (find.looks, notes) == (0, [])


@pytest.mark.slow
def test_follows_smoothly_and_comes_to_rest() -> None:
    framing, _, _ = automatic()
    framing.begin([scene()] * 5)
    sent = [framing.apply(scene(150 if n < 60 else 200), n / 30) for n in range(240)]
    places = [white(picture)[0] for picture in sent]
    assert places[59] == pytest.approx(0.5, abs=0.02)
    assert places[61] > 0.65
    assert places[-1] == pytest.approx(0.5, abs=0.02)
    assert max(abs(b - a) for a, b in itertools.pairwise(places[61:])) < 0.02


@pytest.mark.slow
@pytest.mark.parametrize(("side", "at"), [(256, (150, 120)), (400, (200, 60))])
def test_of_a_still_picture_with_noise_the_square_stays_put(side: int, at: tuple[int, int]) -> None:
    """Noise as of ffmpeg's noise=alls=12:allf=t: a cheap camera in the evening."""
    still = np.full((480, 640, 3), 120, np.uint8)
    still[::7] = 90
    head = Image.fromarray(Portrait().draw(pose_at(0.0))).resize((side, side))
    still[at[1] : at[1] + side, at[0] : at[0] + side] = np.asarray(head)
    random = np.random.default_rng(0)

    def noisy() -> Pictures:
        return np.clip(still + random.normal(0, 12 / 3**0.5, still.shape), 0, 255).astype(np.uint8)

    framing = AutomaticFraming(load_head_finder(), Notes())
    framing.begin(noisy() for _ in range(5))
    assert framing._framer is not None
    squares = set()
    for look in range(30):
        framing.apply(noisy(), look * LOOK_S)
        squares.add(framing._framer.square(look * LOOK_S))
    assert len(squares) == 1
    assert framing.jumps == 0


def test_a_camera_of_another_size_is_framed_anew() -> None:
    framing, _, _ = automatic()
    framing.begin([scene()] * 5)
    framing.apply(scene(), 0.0)
    assert white(framing.apply(scene(700, 300, 1280, 720), 1.0)) == pytest.approx(
        (0.5, 0.48, FACE_SIZE), abs=0.02
    )


def seen(source: FileSource, count: int) -> tuple[list[Pictures], list[int]]:
    """Return all frames and their scenes."""
    frames: list[Pictures] = []
    scenes: list[int] = []
    for number in range(count):
        picture = source.frame(number)
        assert picture is not None
        frames.append(picture)
        scenes.append(source.scene)
    return frames, scenes


PLACED = pytest.approx((0.5, 0.48, FACE_SIZE), abs=0.02)


def wall(number: int = 0) -> Pictures:
    """Return a bright room without anybody."""
    return np.full((480, 640, 3), 180 + number % 2, np.uint8)


@pytest.mark.slow
def test_a_face_after_a_cut_is_framed_at_once(tmp_path: Path) -> None:
    framing, _, _ = automatic()
    parts = [scene(number=n) for n in range(40)], [np.maximum(wall(), scene(450, 300)) for _ in range(40)]
    frames, scenes = seen(FileSource(write(tmp_path / "a.mp4", [*parts[0], *parts[1]]), framing), 80)
    assert white(frames[39]) == PLACED
    assert white(frames[40]) == PLACED
    assert scenes[39] == 0
    # One source picture is enough: the cut and the jump fall together.
    assert len(set(scenes)) == 2


@pytest.mark.slow
def test_a_face_that_is_away_and_comes_back_elsewhere_is_framed_again(tmp_path: Path) -> None:
    """Held meanwhile; framed within two seconds, which is another scene once more."""
    framing, _, _ = automatic()
    away, back = [wall(n) for n in range(60)], [np.maximum(wall(), scene(450, 300)) for _ in range(60)]
    source = FileSource(write(tmp_path / "a.mp4", [scene()] * 40 + away + back), framing)
    frames, scenes = seen(source, 160)
    square = framing._framer.square(99 / 30) if framing._framer else None
    assert square is not None
    assert white(frames[100 + 45]) == PLACED
    assert white(frames[159]) == PLACED
    assert len(set(scenes)) == 3
    jumped = scenes.index(max(scenes))
    assert 100 <= jumped < 160
    assert all((frames[n] == frames[41]).mean() > 0.9 for n in range(42, 100))


@pytest.mark.slow
def test_a_file_that_begins_black_is_framed_when_somebody_comes(tmp_path: Path) -> None:
    framing, _, notes = automatic()
    dark = np.zeros((480, 640, 3), np.uint8)
    source = FileSource(write(tmp_path / "a.mp4", [dark] * 50 + [scene()] * 40), framing)
    frames, scenes = seen(source, 90)
    assert white(frames[51]) == PLACED
    assert scenes[49] == 0
    assert scenes[51] == scenes[-1] == 1 + 1
    assert notes == [DARK]


class QuickCamera:
    """A camera that has a new picture every time it is asked; the first ones are dark."""

    def __init__(self) -> None:
        self.count = 0
        self.over = threading.Event()

    def read(self) -> tuple[bool, Any]:
        self.over.wait(0.005)
        self.count += 1
        return True, np.zeros((480, 640, 3), np.uint8) if self.count < 4 else scene(number=self.count)

    def release(self) -> None:
        self.over.set()


def test_a_camera_is_framed_by_several_of_its_first_pictures() -> None:
    framing, find, _ = automatic()
    camera = QuickCamera()
    source = CameraSource(camera, framing)
    first = source.frame(0)
    assert find.looks > 5
    assert white(first) == pytest.approx((0.5, 0.48, FACE_SIZE), abs=0.02)
    source.close()
    assert camera.over.is_set()


def test_given_squares_hold_and_look_at_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [scene()] * 3)

    def pictures() -> Any:
        pytest.fail("no picture was to be fetched")
        yield

    for framing in (parse_crop("centre"), parse_crop("0,0,480")):
        framing.begin(pictures())
    given = open_source(str(path), parse_crop("10,20,300")).frame(0)
    assert given is not None
    assert (given == FileSource(path, Crop(10, 20, 300)).frame(0)).all()
    assert (open_source(str(path), parse_crop("centre")).frame(0) == open_source(str(path)).frame(0)).all()
    with pytest.raises(RequestError, match="or centre"):
        parse_crop("middle")


def test_fractions_of_pixels_move_the_picture() -> None:
    ramp = np.repeat(np.linspace(0, 250, 300).astype(np.uint8)[None, :, None], 300, 0).repeat(3, 2)
    whole, half, next_one = (cut(ramp, x, 10, 200, 256).astype(int).mean() for x in (20, 20.5, 21))
    assert half - whole == pytest.approx((next_one - whole) / 2, abs=0.1)
    assert next_one > whole
    assert cut(ramp, 44, 44, 256, 256).shape == (256, 256, 3)
    assert cut(ramp, 100 - 1e-9, 99.7, 200, 512).shape == (512, 512, 3)
