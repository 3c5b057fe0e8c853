"""Pairs are of different people and always the same; the figures that need no truth have known values."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.__main__ import main
from bench.harness.clip_set import Clip
from bench.harness.media import write_mp4
from bench.quality.quality_measure import Tools
from bench.quality.quality_transfer import Pair, choose_pairs, transfer, transfer_sheet
from models.lite.layout import LAYOUT
from shared.interfaces import Source
from shared.keypoints import Floats, Pictures
from tests.kept import Kept, Transferring


def clips(people: int, each: int = 1) -> list[Clip]:
    return [Clip(Path(f"{person}-{n}.mp4"), f"p{person}") for person in range(people) for n in range(each)]


@pytest.mark.parametrize("people", [2, 3, 4, 5, 9, 10, 11, 26, 171])
def test_pairs_are_of_different_people_and_never_the_same_twice(people: int) -> None:
    pairs = choose_pairs(clips(people, 2))
    assert len(pairs) == min(10, people)
    assert all(pair.source.person != pair.driver.person for pair in pairs)
    assert len({pair.name for pair in pairs}) == len(pairs)
    assert pairs == choose_pairs(clips(people, 2))
    assert all(pair.source.file.stem.endswith("-0") for pair in pairs)
    assert len({clip.person for pair in pairs for clip in (pair.source, pair.driver)}) >= min(people, 14)


def test_one_person_makes_no_pair() -> None:
    assert choose_pairs(clips(1, 3)) == []


class Bar(Transferring):
    """A network for pictures of a bright column: its points all stand there, and it draws one there."""

    name = "bar"
    fingerprint = ""
    layout = LAYOUT
    size = 256
    sizes = (256,)

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def detect(self, frames: Pictures) -> Floats:
        return np.stack([self._points(frame) for frame in frames])

    def encode(self, picture: Pictures) -> Kept:
        return Kept(self._points(picture), picture)

    def render(self, source: Source, keypoints: Floats) -> Pictures:
        own = source.keypoints[0]
        return np.stack([bar(own + self.gain * (row[0] - own)) for row in keypoints])

    def warmup(self, *, detect: bool = True, render: bool = True) -> None:
        pass

    @staticmethod
    def _points(frame: Pictures) -> Floats:
        x = float(frame.mean((0, 2)).argmax() + 0.5) / 128 - 1
        jacobian = np.tile([1, 0, 0, 1], 10)
        return np.concatenate([np.tile([x, 0.0], 10), jacobian]).astype(np.float32)


def bar(x: float) -> Pictures:
    picture = np.zeros((256, 256, 3), np.uint8)
    column = round((x + 1) * 128 - 0.5)
    picture[:, column - 1 : column + 2] = (120, 120, 120)
    picture[:, column] = 250
    return picture


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("bars")
    for name, start, step in (("a", -0.5, 0.0), ("b", 0.1, 0.0625)):
        write_mp4(folder / f"{name}.mp4", [bar(start + n * step) for n in range(9)])
    return Pair(Clip(folder / "a.mp4", "a"), Clip(folder / "b.mp4", "b"))


def test_exact_motion_has_no_error(pair: Pair) -> None:
    row = transfer(Bar(), pair, Tools(None, None, 0)).row
    assert (row["person"], row["frames"]) == ("a<-b", 8)
    assert row["motion_correlation"] == pytest.approx(1, abs=0.01)
    assert row["motion_error"] == pytest.approx(0, abs=0.05)
    assert np.isnan(row["identity_kept"])


def test_half_the_motion_has_half_the_error_and_none_has_all(pair: Pair) -> None:
    assert transfer(Bar(0.5), pair, Tools(None, None, 0)).row["motion_error"] == pytest.approx(0.5, abs=0.05)
    still = transfer(Bar(0.0), pair, Tools(None, None, 0)).row
    assert still["motion_error"] == pytest.approx(1)
    assert np.isnan(still["motion_correlation"])
    assert transfer(Bar(-0.5), pair, Tools(None, None, 0)).row["motion_correlation"] < -0.9


def test_the_sheet_has_two_lines_a_pair(pair: Pair) -> None:
    done = transfer(Bar(), pair, Tools(None, None, 0))
    assert len(done.driving) == len(done.rendered) == 5
    # Motion is relative: the source's own place, moved as the driver moved since its first frame.
    places = [picture.mean((0, 2)).argmax() for picture in done.rendered]
    moved = [picture.mean((0, 2)).argmax() for picture in done.driving]
    assert np.diff(places) == pytest.approx(np.diff(moved), abs=1)
    assert places[0] != moved[0]
    sheet = Image.open(io.BytesIO(transfer_sheet([done, done])))
    assert sheet.height == 28 + 4 * 200


@pytest.mark.slow
@pytest.mark.usefixtures("lite_loaded_once")
def test_the_command_makes_the_sheet(pair: Pair, tmp_path: Path) -> None:
    folder = str(pair.source.file.parent)
    given = ["quality", "--transfer", "--device", "cpu", "--frames", "2", "--clips", folder]
    assert main([*given, "--report", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"transfer.json", "transfer.md", "transfer.png"}
    rows = json.loads((tmp_path / "transfer.json").read_text())["rows"]
    assert [row["person"] for row in rows] == ["a<-b", "b<-a", "all"]


def test_the_command_needs_two_people(pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.mp4").write_bytes(pair.source.file.read_bytes())
    assert main(["quality", "--transfer", "--device", "cpu", "--clips", str(tmp_path)]) == 2
    assert "different people" in capsys.readouterr().err
