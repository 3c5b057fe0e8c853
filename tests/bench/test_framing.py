"""`bench framing`: wide frames whose contents are known, and what is counted in them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from bench.__main__ import main
from bench.framing import framing_command as framing
from bench.framing import head_finding
from bench.framing.framing_command import Filmed, Still, place_at
from bench.framing.head_finding import Tally, iou, measure_finder
from bench.framing.wide import HEIGHT, WIDTH, Placed, room, widened
from bench.harness.clip_set import find_clips
from bench.harness.faces import FaceFinder
from models.build import one_thread
from shared.keypoints import Pictures
from shared.media.heads import Head

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("lite_loaded_once")]

WHITE = np.full((256, 256, 3), 255, np.uint8)


def test_the_picture_stands_where_it_was_placed() -> None:
    dark = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    wide = widened(WHITE, dark, Placed(400, 100, 300))
    assert wide.shape == (HEIGHT, WIDTH, 3)
    assert (wide[250, 550] == 255).all()
    rows, columns = np.nonzero(wide[..., 0] > 128)
    assert (columns.min(), columns.max()) == pytest.approx((418, 682), abs=3)
    assert rows.min() == pytest.approx(118, abs=3)
    assert rows.max() == HEIGHT - 1
    assert not dark.any()


@pytest.mark.parametrize("place", [Placed(-100, -50, 300), Placed(1200, 600, 300), Placed(-50, -50, 1500)])
def test_it_may_reach_out_of_the_frame(place: Placed) -> None:
    assert widened(WHITE, room(1), place).shape == (HEIGHT, WIDTH, 3)


def test_rooms_differ_and_repeat() -> None:
    assert (room(1) == room(1)).all()
    assert np.abs(room(1).astype(int) - room(2)).mean() > 5


def test_overlap() -> None:
    one = Head(10, 10, 4)
    assert iou(one, one) == 1
    assert iou(one, Head(12, 10, 4)) == pytest.approx(1 / 3)
    assert iou(one, Head(20, 10, 4)) == 0
    assert iou(one, Head(10, 10, 2)) == pytest.approx(1 / 4)


def test_a_tally_counts_faces_and_what_is_none() -> None:
    tally = Tally()
    face = Head(100, 100, 40)
    tally.add(face, [Head(104, 100, 40), Head(300, 100, 40)])
    tally.add(face, [Head(100, 125, 40)])
    tally.add(face, [])
    row = tally.row(0.1)
    assert (row["faces"], row["found"], row["false_per_frame"]) == (
        3,
        pytest.approx(1 / 3),
        pytest.approx(2 / 3),
    )
    assert row["centre_error"] == pytest.approx(0.1)
    assert math.isnan(float(Tally().row(0.1)["iou"] or 0))


def test_the_finder_is_measured_against_the_clip_itself(
    other_people: Path, face_detector: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_finding, "_EMPTY", 3)
    monkeypatch.setattr(head_finding, "SHARES", (0.14,))
    monkeypatch.setattr(head_finding, "_PER_CLIP", 2)
    yunet = FaceFinder(face_detector)

    def perfect(picture: Pictures) -> list[Head]:
        face = yunet.find(picture)
        return [] if face is None else [head_finding.head_of(face)]

    faces, rooms = measure_finder(perfect, find_clips([other_people])[0][:2], yunet)
    assert faces["faces"] == 4
    assert faces["found"] == 1
    assert float(faces["iou"] or 0) > 0.75
    assert rooms["false_per_frame"] == 0
    assert float(rooms["find_ms"] or 0) > 0


def test_the_person_moves_and_a_still_square_does_not() -> None:
    assert place_at(0) == place_at(5) != place_at(7)
    film = Filmed("white", [WHITE], np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    assert not (film.wide(0) == film.wide(7 * 30)).all()

    def find(picture: Pictures) -> list[Head]:
        columns = np.nonzero(picture[400, :, 0] > 128)[0]
        return [Head(float(columns.mean()), 500.0, 150.0)]

    still = Still(find)
    still.begin(film.wide(0) for _ in range(3))
    before, after = (still.apply(film.wide(n * 30), float(n)) for n in (0, 11))
    assert not (before == after).all()
    assert (still.apply(film.wide(0), 19.0) == before).all()


def test_a_whole_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "SECONDS", 1)
    monkeypatch.setattr(framing, "PORTRAIT_S", 1)
    monkeypatch.setattr(framing, "MEASURED", 3)
    monkeypatch.setattr(framing, "_MOMENTS", (0,))
    monkeypatch.setattr(framing, "LATE_S", 0)
    output, sheet = tmp_path / "framing.json", tmp_path / "framing.png"
    with one_thread():
        assert main(["framing", "--json", str(output), "--sheet", str(sheet)]) == 0
    rows = json.loads(output.read_text())["rows"]
    assert [row["framing"] for row in rows] == ["centre", "still", "following"] * 2
    assert all(0 < row["mae"] < 0.2 for row in rows)
    by_name = {row["framing"]: row for row in rows if row["person"] == "demo"}
    assert by_name["centre"]["well_placed"] == 0 < by_name["following"]["well_placed"]
    assert sheet.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--faces", "yunet.onnx"], "give some with --clips"),
        (["--people", "-1"], "--people 0 or more"),
        (["--clips", "none"], "There is no folder none"),
    ],
)
def test_wrong_requests(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["framing", *words]) == 2
    assert sentence in capsys.readouterr().err
