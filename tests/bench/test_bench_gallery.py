import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.__main__ import main
from bench.harness.clip_set import Clip, spread
from bench.harness.media import write_mp4
from bench.quality import gallery_command as gallery
from bench.quality.gallery_command import Film, liveliest, measure, play, summary
from bench.quality.gallery_sheet import write_sheet
from models.lite.layout import LAYOUT
from sender.gallery import GalleryOptions
from shared.interfaces import Source
from shared.keypoints import Floats, Pictures
from tests.kept import Kept

pytestmark = pytest.mark.slow


class Mirror:
    """A picture's keypoints are its brightness; what is rendered is the source picture as it is."""

    name, fingerprint, device = "mirror", "", "cpu"
    layout = LAYOUT
    size = 256
    sizes = (256,)

    def detect(self, frames: Pictures) -> Floats:
        mean = frames.reshape(len(frames), -1).mean(axis=1) / 255
        return np.repeat(mean[:, None], 60, axis=1).astype(np.float32)

    def encode(self, picture: Pictures) -> Kept:
        return Kept(self.detect(picture[None])[0], picture)

    def render(self, source: Source, keypoints: Floats) -> Pictures:
        assert isinstance(source, Kept)
        return np.broadcast_to(source.picture, (len(keypoints), 256, 256, 3))

    def warmup(self, *, detect: bool = True, render: bool = True) -> None:
        pass


def nodding(low: int, high: int, seconds: int = 4) -> list[Pictures]:
    """One second dark, one second bright, and so on."""
    return [np.full((256, 256, 3), high if n // 30 % 2 else low, np.uint8) for n in range(30 * seconds)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("clips")
    write_mp4(place / "still.mp4", nodding(100, 102))
    write_mp4(place / "calm.mp4", nodding(90, 130))
    write_mp4(place / "lively.mp4", nodding(40, 220))
    (place / "clips.csv").write_text("file,person\nstill.mp4,ann\ncalm.mp4,bob\nlively.mp4,ann\n")
    return place


def film(low: int = 60, high: int = 180) -> Film:
    pictures = np.stack(nodding(low, high))
    return Film(Clip(Path("x.mp4"), "cy"), pictures, Mirror().detect(pictures), LAYOUT)


def test_a_film_runs_forth_and_back() -> None:
    short = Film(
        Clip(Path("x.mp4"), "cy"), np.zeros((4, 256, 256, 3), np.uint8), np.zeros((4, 60), np.float32), LAYOUT
    )
    assert [short.place(number) for number in range(10)] == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]


def test_the_liveliest_are_chosen_one_clip_a_person(folder: Path) -> None:
    clips = [Clip(folder / f"{name}.mp4", person) for name, person in
             (("still", "ann"), ("calm", "bob"), ("lively", "ann"))]  # fmt: skip
    films = liveliest(Mirror(), clips, 2)
    assert [film.clip.name for film in films] == ["lively.mp4", "calm.mp4"]
    assert [film.clip.name for film in liveliest(Mirror(), clips, 1)] == ["lively.mp4"]


def test_a_second_picture_shows_the_second_pose() -> None:
    shown = film()
    numbers = spread(1, 1799, 60)
    rows = []
    for size in (1, 2):
        played = play(Mirror(), shown, GalleryOptions(size, 2.0), numbers)
        assert played.numbers == numbers
        rows.append(measure(shown, played, size, None))
    one, two = rows
    assert (one["sent"], two["sent"]) == (1, 2)
    assert one["switches"] == 0
    # Half of the frames are as far from the one picture as the poses are apart.
    assert one["mae"] == pytest.approx(120 / 255 / 2, rel=0.1)
    assert one["late_mae"] == pytest.approx(one["mae"], rel=0.15)
    assert float(str(two["late_mae"])) < 0.2 * float(str(one["late_mae"]))
    assert float(str(two["source_kbps"])) <= 2.0


def test_the_summary_is_the_mean_of_the_people() -> None:
    rows = [
        {"person": person, "pictures": size, "mae": mae}
        for person, size, mae in (("a", 1, 0.1), ("a", 2, 0.2), ("b", 1, 0.3), ("b", 2, 0.6))
    ]
    one, two = summary(rows)
    assert one == {"person": "all", "pictures": 1, "mae": pytest.approx(0.2)}
    assert two == {"person": "all", "pictures": 2, "mae": pytest.approx(0.4)}


def test_the_sheet_has_three_moments_a_person(tmp_path: Path) -> None:
    columns = tuple(np.full((3, 256, 256, 3), level, np.uint8) for level in (10, 120, 250))
    write_sheet(tmp_path / "sheet.png", [columns, columns])  # type: ignore[list-item]
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (2 * 166, 3 * (3 * 160 + 6), 3)
    assert [int(sheet[80, x, 0]) for x in (80, 240, 400, 566)] == [10, 120, 250, 10]


def test_the_command_measures_and_writes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gallery, "load_backbone", lambda *_: Mirror())
    table, sheet = tmp_path / "gallery.json", tmp_path / "gallery.png"
    arguments = ["gallery", "--clips", str(folder), "--people", "1", "--frames", "6", "--device", "cpu"]
    assert main([*arguments, "--json", str(table), "--sheet", str(sheet)]) == 0
    rows = json.loads(table.read_text())["rows"]
    assert [(row["person"], row["pictures"]) for row in rows] == [
        (person, size) for person in ("ann", "all") for size in (1, 2, 4, 8)
    ]
    assert rows[1]["late_mae"] < rows[0]["late_mae"]
    assert sheet.exists()
    assert "| all" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [["--people", "0"], ["--frames", "1"], ["--json", "/nowhere/x.json"]])
def test_a_wrong_request_is_told_at_once(
    wrong: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gallery", "--clips", str(folder), *wrong]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
