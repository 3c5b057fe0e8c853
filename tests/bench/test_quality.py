"""Counts, averages and output of `bench quality`, with drawn clips."""

from __future__ import annotations

import io
import json
import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.__main__ import main
from bench.harness.clip_runs import each
from bench.harness.clip_set import Clip, ClipError, chosen, find_clips, frames, kept_moments, moments, spread
from bench.harness.faces import FACE_SIZE, Face
from bench.harness.landmark_measures import COLUMNS, Landmarks
from bench.harness.media import write_mp4
from bench.harness.metrics import mae
from bench.quality.quality_measure import Tools, measure_clip
from bench.quality.quality_sheet import Drawing, sheets
from bench.quality.quality_summary import (
    larger_verdicts,
    missing_fomm,
    static_row,
    summarise,
    verdicts,
    with_shares,
)
from models.build import SHIPPED
from models.landmarks.crops import Box
from models.landmarks.finder import Found
from models.landmarks.landmark_files import LandmarkFolder, save_clip
from models.lite.layout import LAYOUT
from models.training.data.frames import load_clips
from sender.demo import pose_at
from shared.errors import RequestError
from shared.interfaces import Source
from shared.keypoints import Floats, Pictures
from shared.portrait.portrait import Portrait
from tests.drawn_face import face
from tests.kept import Kept

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("lite_loaded_once")]

torch.set_num_threads(1)


class Echo:
    """Renders, of what it has detected, the very frames: a perfect network; or its source, which is none."""

    name = "echo"
    fingerprint = ""
    layout = LAYOUT
    size = 256
    sizes = (256,)

    def __init__(self, perfect: bool) -> None:
        self.perfect = perfect

    def detect(self, pictures: Pictures) -> Floats:
        self.seen = pictures
        return np.zeros((len(pictures), 60), np.float32)

    def encode(self, picture: Pictures) -> Kept:
        return Kept(np.zeros(60, np.float32), picture)

    def render(self, source: Source, keypoints: Floats) -> Pictures:
        assert isinstance(source, Kept)
        return self.seen if self.perfect else np.broadcast_to(source.picture, (len(keypoints), 256, 256, 3))

    def warmup(self, *, detect: bool = True, render: bool = True) -> None:
        pass


class ByBrightness:
    """Finds a face whose lips and lids are as far open as the picture is bright."""

    def find(self, picture: Pictures, near: Box | None = None) -> Found | None:  # noqa: ARG002
        bright = float(picture.mean()) / 255
        return Found(np.pad(face(lips=0.2 * bright, lids=bright), ((0, 0), (0, 1))), Box(0, 0, 1))

    def follow(self, pictures: Iterable[Pictures]) -> Floats:
        return np.stack(
            [face(lips=0.2 * float(p.mean()) / 255, lids=float(p.mean()) / 255) for p in pictures]
        )

    in_place = follow


class OneFace:
    """Finds a face at the same place in every second picture it is asked about."""

    def __init__(self) -> None:
        self.asked = 0

    def find(self, picture: Pictures) -> Face | None:  # noqa: ARG002
        self.asked += 1
        points = np.array([(105, 105), (151, 105), (128, 130), (112, 156), (144, 156)], np.float64)
        return Face(60, 40, 196, 200, points) if self.asked % 2 else None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of 10 frames: two of ann, one of bob; one of 1 frame, one that is broken, one that is missing."""
    place = tmp_path_factory.mktemp("clips")
    portrait = Portrait()
    for name, start, mirrored in (("a1", 0.0, False), ("a2", 2.0, False), ("b1", 4.0, True)):
        drawn = [portrait.draw(replace(pose_at(start + n / 12), brows=0.0)) for n in range(10)]
        write_mp4(place / f"{name}.mp4", [np.ascontiguousarray(d[:, ::-1] if mirrored else d) for d in drawn])
    write_mp4(place / "short.mp4", [np.zeros((64, 64, 3), np.uint8)])
    (place / "broken.mp4").write_bytes(b"no video")
    (place / "clips.csv").write_text(
        "split,file,person\nval,a1.mp4,ann\nval,a2.mp4,ann\nval,b1.mp4,bob\nval,gone.mp4,cy\n"
    )
    return place


@pytest.fixture(scope="module")
def weights() -> Path:
    return SHIPPED / "lite"


def test_people_come_from_the_table_the_folder_or_the_file(folder: Path, tmp_path: Path) -> None:
    for name in ("dora/x.mp4", "eve\n.mp4", "id7/video/1.mp4", "train/id8/2.mp4", "id9#video#3.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    clips, missing = find_clips([folder, tmp_path])
    people = {clip.file.name: clip.person for clip in clips}
    assert missing == 1
    assert people == {
        "a1.mp4": "ann", "a2.mp4": "ann", "b1.mp4": "bob", "broken.mp4": "broken", "short.mp4": "short",
        "x.mp4": "dora", "eve\n.mp4": "eve", "1.mp4": "id7", "2.mp4": "id8", "id9#video#3.mp4": "id9",
    }  # fmt: skip


def test_wrong_folders_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no folder"):
        find_clips([tmp_path / "missing"])
    with pytest.raises(RequestError, match="No video below"):
        find_clips([tmp_path])
    (tmp_path / "clips.csv").write_text("name,who\na,b\n")
    with pytest.raises(RequestError, match="columns file and person"):
        find_clips([tmp_path])


def test_a_frame_that_a_call_would_repeat_is_given_once(tmp_path: Path) -> None:
    levels = [np.full((64, 64, 3), 20 * n, np.uint8) for n in range(10)]
    write_mp4(tmp_path / "slow.mp4", levels, fps=10)
    clip = Clip(tmp_path / "slow.mp4", "x")
    assert [picture.mean() for picture in frames(clip)] == pytest.approx([20 * n for n in range(10)], abs=3)
    assert moments(clip, 0) == list(range(1, 10))
    assert moments(clip, 3) == [1, 5, 9]
    assert [p.mean() for p in chosen(clip, [0, 5, 9])] == pytest.approx([0, 100, 180], abs=3)


def test_numbers_are_spread_with_both_ends() -> None:
    assert spread(1, 9, 3) == [1, 5, 9]
    assert spread(1, 3, 12) == [1, 2, 3]
    assert spread(1, 1, 12) == [1]


def test_broken_and_short_clips_say_so(folder: Path) -> None:
    with pytest.raises(ClipError, match="not a readable video"):
        moments(Clip(folder / "broken.mp4", "x"), 3)
    with pytest.raises(ClipError, match="fewer than two frames"):
        moments(Clip(folder / "short.mp4", "x"), 3)


def test_a_perfect_network_and_a_still_picture(folder: Path) -> None:
    clip, tools = Clip(folder / "a1.mp4", "ann"), Tools(None, None, 4)
    perfect = with_shares(measure_clip(Echo(perfect=True), clip, tools).row)
    still = with_shares(measure_clip(Echo(perfect=False), clip, tools).row)
    assert (perfect["mae"], perfect["ssim"], perfect["mae_share"]) == (0, 1, 0)
    assert still["mae"] == still["static_mae"] == perfect["static_mae"]
    assert still["ssim"] == still["static_ssim"]
    assert still["mae_share"] == 1
    assert (still["frames"], still["person"], still["clip"]) == (4, "ann", "a1.mp4")


def test_figures_are_means_over_frames_and_moments_their_peaks(folder: Path) -> None:
    clip = Clip(folder / "a1.mp4", "ann")
    source, *driving = frames(clip)
    errors = [mae(picture, source) for picture in driving]
    measured = measure_clip(Echo(perfect=False), clip, Tools(None, None, 0))
    assert measured.row["mae"] == pytest.approx(np.mean(errors))
    assert measured.worst.frame == measured.moved.frame == 1 + int(np.argmax(errors))
    assert measured.worst.score == pytest.approx(max(errors))


def test_faces_are_measured_in_their_box_and_missing_ones_counted(folder: Path) -> None:
    clip = Clip(folder / "a1.mp4", "ann")
    measured = measure_clip(Echo(perfect=False), clip, Tools(None, OneFace(), 6))  # type: ignore[arg-type]
    row = with_shares(measured.row)
    source, *driving = chosen(clip, [0, *moments(clip, 6)])
    boxes = [picture[40:200, 60:196] for picture in (source, *driving[::2])]
    small = [np.array(Image.fromarray(b).resize((FACE_SIZE,) * 2, Image.Resampling.BICUBIC)) for b in boxes]
    assert (row["face_frames"], row["frames_without_face"]) == (3, 3)
    assert row["face_mae"] == pytest.approx(np.mean([mae(part, small[0]) for part in small[1:]]))
    assert row["face_mae_share"] == 1


def test_how_lips_and_lids_follow_is_measured_by_landmarks(folder: Path, tmp_path: Path) -> None:
    clip = Clip(folder / "a1.mp4", "ann")
    finer = np.stack([face(lips=0.01 * n) for n in range(3)])
    save_clip(tmp_path / "finer.npz", "a1.mp4", finer)
    seen = Landmarks(ByBrightness(), LandmarkFolder.load(tmp_path))  # type: ignore[arg-type]
    measured = measure_clip(Echo(perfect=True), clip, Tools(None, None, 0, seen))
    row = with_shares(measured.row)
    # Of 10 frames at 30 a second every fourth is kept, and the first is the source.
    assert (row["frames"], row["landmark_frames"], row["frames_without_landmarks"]) == (2, 2, 0)
    assert row["lips_slope"] == row["lips_correlation"] == pytest.approx(1)
    assert row["landmark_error"] == 0
    assert row["static_landmark_error"] > 0
    assert row["finder_error"] > 0
    assert set(measured.spoke) == {"widest mouth", "closed lids"}
    still = with_shares(measure_clip(Echo(perfect=False), clip, Tools(None, None, 0, seen)).row)
    assert still["lips_slope"] == 0
    assert still["landmark_error"] == still["static_landmark_error"] == row["static_landmark_error"]
    # The one draws what it is shown, noise and all, the other always the same.
    assert still["jitter_px"] < 1e-4 < row["jitter_px"]


def test_landmarks_of_another_clip_are_refused(folder: Path, tmp_path: Path) -> None:
    save_clip(tmp_path / "finer.npz", "a1.mp4", np.stack([face()] * 9))
    seen = Landmarks(ByBrightness(), LandmarkFolder.load(tmp_path))  # type: ignore[arg-type]
    with pytest.raises(ClipError, match="keeps 3 frames, but there are landmarks of 9"):
        measure_clip(Echo(perfect=True), Clip(folder / "a1.mp4", "ann"), Tools(None, None, 0, seen))
    # Those that there are no finer landmarks of are measured as without any.
    other = measure_clip(Echo(perfect=True), Clip(folder / "a2.mp4", "ann"), Tools(None, None, 0, seen)).row
    assert (other["landmark_frames"], "finder_error" in other) == (9, False)


@pytest.mark.parametrize(("fps", "numbers"), [(8, list(range(1, 30))), (25, list(range(3, 30, 3)))])
def test_kept_frames_are_those_that_training_keeps(tmp_path: Path, fps: int, numbers: list[int]) -> None:
    write_mp4(tmp_path / "c.mp4", [np.full((64, 64, 3), 5 * n, np.uint8) for n in range(30)], fps=fps)
    (kept,) = load_clips([tmp_path], tmp_path / "cache")
    clip = Clip(tmp_path / "c.mp4", "x")
    assert kept_moments(clip, 0, len(kept.frames)) == (numbers, list(range(1, len(numbers) + 1)))
    found, places = kept_moments(clip, 4, len(kept.frames))
    assert len(found) == 4
    for place, picture in zip(places, chosen(clip, found), strict=True):
        assert kept.picture(place).mean() == pytest.approx(picture.mean(), abs=2)


def test_kept_frames_of_a_fast_clip_are_found_by_time(tmp_path: Path) -> None:
    write_mp4(tmp_path / "c.mp4", [np.full((64, 64, 3), 4 * n, np.uint8) for n in range(60)], fps=60)
    (kept,) = load_clips([tmp_path], tmp_path / "cache")
    clip = Clip(tmp_path / "c.mp4", "x")
    found, places = kept_moments(clip, 0, len(kept.frames))
    assert found == [4, 8, 12, 16, 20, 24, 28]
    for place, picture in zip(places, chosen(clip, found), strict=True):
        assert kept.picture(place).mean() == pytest.approx(picture.mean(), abs=2)


def clip_row(person: str, ours: float, still: float, **more: float) -> dict[str, object]:
    return {"method": "lite", "person": person, "clip": "c", "kbps": None, "frames": 2, "mae": ours,
            "static_mae": still, **more}  # fmt: skip


ROWS = [
    clip_row("ann", 0.1, 0.2),
    clip_row("ann", 0.3, 0.2),
    clip_row("bob", 0.1, 0.2),
    clip_row("cy", 0.3, 0.2),
]


def test_clips_are_averaged_by_person_before_people() -> None:
    summary = summarise(ROWS)
    assert [(row["person"], row["mae_share"]) for row in summary.people] == [
        ("ann", pytest.approx(1)), ("bob", pytest.approx(0.5)), ("cy", pytest.approx(1.5)),
    ]  # fmt: skip
    assert summary.overall["person"] == "all"
    assert summary.overall["mae"] == pytest.approx(0.2)
    assert summary.overall["mae_share"] == pytest.approx(1)
    assert summary.overall["frames"] == 8
    assert [row["person"] for row in summary.worst(2)] == ["cy", "ann"]
    assert summary.worse_than_still("mae_share") == ["cy"]


def test_a_clip_without_faces_does_not_spoil_the_mean() -> None:
    rows = [clip_row("ann", 0.1, 0.2, face_mae=0.2, face_static_mae=0.4), clip_row("bob", 0.1, 0.2)]
    overall = summarise(rows).overall
    assert overall["face_mae"] == pytest.approx(0.2)
    assert overall["face_mae_share"] == pytest.approx(0.5)


def test_a_clip_that_stands_still_has_no_share() -> None:
    summary = summarise([clip_row("ann", 0.01, 0.0), clip_row("bob", 0.1, 0.2)])
    assert math.isnan(float(str(summary.people[0]["mae_share"])))
    assert summary.overall["mae_share"] == pytest.approx(0.5)
    assert [row["person"] for row in summary.worst()] == ["bob"]


def test_openings_are_pooled_over_all_frames() -> None:
    def lips(person: str, frames: int, variance: float, covariance: float) -> dict[str, object]:
        rest = {f"{part}_{kind}": 0.0 for part in ("lips", "lids", "gaze")
                for kind in ("variance", "rendered_variance", "covariance")}  # fmt: skip
        return clip_row(person, 0.1, 0.2, **{
            **rest, "landmark_frames": frames, "lips_variance": variance, "lips_rendered_variance": 1.0,
            "lips_covariance": covariance, "landmark_error_lips": covariance, "landmark_error_eyes": 0.0,
        })  # fmt: skip

    summary = summarise([lips("ann", 10, 3.0, 3.0), lips("bob", 30, 1.0, 0.0), lips("bob", 10, 1.0, 0.0)])
    # 30 of 30 + 30 + 10.
    assert summary.overall["lips_slope"] == pytest.approx(30 / 70)
    assert summary.overall["landmark_frames"] == 50
    assert summary.people[1]["landmark_frames"] == 40
    assert [row["person"] for row in summary.least_alike()] == ["ann", "bob"]


def test_the_anchors_are_the_still_picture_and_a_network_that_nobody_trained() -> None:
    still = static_row(summarise(ROWS).overall)
    assert (still["method"], still["person"], still["mae_share"]) == ("static", "all", 1)
    assert still["mae"] == still["static_mae"] == pytest.approx(0.2)
    missing = missing_fomm()
    assert missing["method"] == "fomm (not trained: no checkpoint given)"
    assert not [value for value in missing.values() if isinstance(value, float)]


def test_targets_are_told_plainly() -> None:
    lines = verdicts(summarise(ROWS), with_perceptual=False)
    assert "MAE, share of the first frame's, mean over people: 1.000 (target <= 0.60: missed)" in lines[0]
    assert "0.2000 / 0.2000 = 1.000" in lines[0]
    assert lines[1] == "people worse than the first frame in MAE (target 0): 1 of 3: cy"
    assert "reached" in verdicts(summarise([clip_row("x", 0.1, 0.2)]), with_perceptual=False)[0]


def test_ctrl_c_keeps_what_there_is(caplog: pytest.LogCaptureFixture) -> None:
    def work(number: int) -> int:
        if number == 1:
            raise ClipError("1 is broken")
        if number == 3:
            raise KeyboardInterrupt
        return number

    with caplog.at_level(logging.WARNING):
        done = each([0, 1, 2, 3, 4], "x", "clip", work)
    assert (done.results, done.skipped, done.stopped) == ([0, 2], 1, True)
    assert "Skipped: 1 is broken" in caplog.text
    with pytest.raises(KeyboardInterrupt):
        each([3], "x", "clip", work)
    with pytest.raises(RequestError, match="None of the clips"):
        each([1], "x", "clip", work)


def test_the_sheets_show_the_moments(folder: Path) -> None:
    tools = Tools(None, None, 4, Landmarks(ByBrightness()))  # type: ignore[arg-type]
    clips = [Clip(folder / "a1.mp4", "ann"), Clip(folder / "b1.mp4", "bob")]
    network = Echo(perfect=True)
    measured = [measure_clip(network, clip, tools) for clip in clips]
    summary = summarise([with_shares(one.row) for one in measured])
    drawn = sheets(Drawing(network, measured, summary, tools))
    assert set(drawn) == {"worst.png", "people.png", "speech.png"}
    worst, speech = (np.asarray(Image.open(io.BytesIO(drawn[name]))) for name in ("worst.png", "speech.png"))
    tiles = tiles_of(worst, 4)
    assert mae(tiles[0], next(frames(clips[0]))) == 0
    assert (tiles[1] == tiles[2]).all()  # a perfect rendering ...
    assert tiles[3].max() == 0  # ... has no error
    # Two people, widest mouth and closed lids; whole pictures and details.
    assert speech.shape[0] == 28 + 4 * (256 + 8)
    tiles = tiles_of(speech, 6)
    assert (tiles[1] == tiles[2]).all()
    assert (tiles[4] == tiles[5]).all()
    assert not (tiles[1] == tiles[4]).all()
    assert tiles[1].mean() == max(picture.mean() for picture in chosen(clips[0], moments(clips[0], 4)))


def tiles_of(sheet: Pictures, count: int) -> list[Pictures]:
    """Return the pictures in the first row of a sheet of that many columns."""
    gap, size = 8, 256
    left = sheet.shape[1] - count * (size + gap)
    return [sheet[28 : 28 + size, left + n * (size + gap) :][:, :size] for n in range(count)]


def run(*arguments: str) -> int:
    return main(["quality", "--device", "cpu", "--backbone", "lite", *arguments])


def test_the_command_leaves_a_report(
    folder: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "report"
    assert (
        run("--clips", str(folder), "--checkpoint", str(weights), "--frames", "2", "--report", str(out)) == 0
    )
    said = capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {"quality.json", "quality.md", "worst.png", "people.png"}
    found = json.loads((out / "quality.json").read_text())
    rows = [(row["method"], row["person"], row["clip"]) for row in found["rows"]]
    assert rows == [
        ("lite", "ann", "a1.mp4"), ("lite", "ann", "a2.mp4"), ("lite", "bob", "b1.mp4"), ("lite", "all", ""),
        ("static", "all", ""), ("fomm (not trained: no checkpoint given)", "all", ""),
    ]  # fmt: skip
    first = found["rows"][0]
    assert first["kbps"] is None
    assert first["perceptual"] is None
    assert first["mae_share"] == pytest.approx(first["mae"] / first["static_mae"])
    assert "mae" not in found["rows"][-1]
    counts = {name: found["meta"][name] for name in ("measured", "skipped", "clips_missing", "stopped_early")}
    assert counts == {"measured": 3, "skipped": 2, "clips_missing": 1, "stopped_early": False}
    assert "3 measured, 2 skipped" in said
    assert "the perceptual distance was not measured" in said
    assert "target <= 0.60" in (out / "quality.md").read_text()


def test_the_command_with_every_network(
    folder: Path, weights: Path, tmp_path: Path, squeezenet: Path, face_detector: Path
) -> None:
    out = tmp_path / "q.json"
    given = ["--clips", str(folder), "--checkpoint", str(weights), "--frames", "2", "--json", str(out)]
    assert run(*given, "--perceptual", str(squeezenet), "--faces", str(face_detector)) == 0
    rows = json.loads(out.read_text())["rows"]
    for name in ("perceptual_share", "face_perceptual_share", "face_mae_share"):
        assert isinstance(rows[0][name], float)
        assert isinstance(rows[3][name], float)
    assert rows[4]["face_perceptual_share"] == 1
    assert run(*given, "--transfer", "--perceptual", str(squeezenet), "--faces", str(face_detector)) == 0
    row = json.loads(out.read_text())["rows"][0]
    assert (row["method"], row["person"]) == ("transfer", "ann<-bob")
    assert 0 <= row["identity_kept"] <= 1


def test_the_command_with_landmarks(
    folder: Path, weights: Path, tmp_path: Path, mesh_networks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "finer").mkdir()
    for name in ("a1", "a2", "b1"):
        save_clip(tmp_path / "finer" / f"{name}.npz", f"{name}.mp4", np.stack([face()] * 3))
    given = ["--clips", str(folder), "--checkpoint", str(weights), "--report", str(tmp_path / "out")]
    assert run(*given, "--landmarks", str(mesh_networks), str(tmp_path / "finer")) == 0
    said = capsys.readouterr().out
    assert "slope and correlation: openings" in said
    assert "the finder's own distance" in said
    assert (tmp_path / "out" / "speech.png").exists()
    found = json.loads((tmp_path / "out" / "quality.json").read_text())
    assert found["meta"]["frames_per_clip"] == 60
    overall, still = (next(r for r in found["rows"] if r["method"] == m and r["person"] == "all")
                      for m in ("lite", "static"))  # fmt: skip
    assert overall["landmark_frames"] + overall["frames_without_landmarks"] == 3 * 2
    assert set(COLUMNS) <= set(overall)
    assert still["landmark_error"] == overall["static_landmark_error"] > 0
    assert still["lips_slope"] == 0


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("change", "words"), [
    (["--frames", "-1"], "--frames 1 or more"),
    (["--threads", "0"], "--threads 1 or more"),
    (["--clips", "missing"], "no folder missing"),
    (["--perceptual", "missing"], "perceptual network missing"),
    (["--faces", "missing"], "no face detector missing"),
    (["--landmarks", "missing"], "no face_landmark.tflite in missing"),
    (["--json", "missing/x.json"], "no folder missing"),
    (["--report", "/dev/null/x"], "Cannot create the folder"),
    (["--fomm", "missing"], "missing"),
    (["--transfer", "--fomm", "missing"], "instead of --fomm"),
])  # fmt: skip
@pytest.mark.usefixtures("elsewhere")
def test_a_wrong_request_is_one_sentence(
    folder: Path, weights: Path, capsys: pytest.CaptureFixture[str], change: list[str], words: str
) -> None:
    assert run("--clips", str(folder), "--checkpoint", str(weights), *change) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("error: ")
    assert words in said[-1]


def test_larger_pictures_are_measured_beside_smaller_ones_scaled_up(weights: Path, tmp_path: Path) -> None:
    place = tmp_path / "clips"
    place.mkdir()
    portrait = Portrait(size=512)
    write_mp4(place / "a.mp4", [portrait.draw(pose_at(0.1 * n)) for n in range(3)])
    path, report = tmp_path / "q.json", tmp_path / "report"
    words = ["--clips", str(place), "--checkpoint", str(weights), "--frames", "2", "--size", "512"]
    assert run(*words, "--json", str(path), "--report", str(report)) == 0
    rows = [row for row in json.loads(path.read_text())["rows"] if row["person"] == "all"]
    assert [row["method"] for row in rows] == ["lite", "static", "lite at 256, scaled up"]
    assert (report / "larger.png").stat().st_size > 1000


@pytest.mark.parametrize("other", ["--transfer", "--rd", "--landmarks", "--fomm"])
def test_larger_pictures_are_compared_with_smaller_ones_alone(
    folder: Path, other: str, capsys: pytest.CaptureFixture[str]
) -> None:
    value = [str(folder)] if other in ("--landmarks", "--fomm") else []
    assert run("--clips", str(folder), "--size", "384", other, *value) == 2
    assert "--size cannot be combined" in capsys.readouterr().err


def test_how_much_nearer_larger_pictures_are_is_told() -> None:
    large, small = (
        summarise([clip_row("ann", 0.1, 0.2, perceptual=whole, face_perceptual=face)])
        for whole, face in ((0.2, 0.19), (0.25, 0.2))
    )
    assert larger_verdicts(large, small) == [
        "SqueezeNet perceptual distance against the smaller pictures, scaled up: 0.2000 / 0.2500, 20.0% less "
        "(target 15%: reached)",
        "the same of the face box against the smaller pictures, scaled up: 0.1900 / 0.2000, 5.0% less "
        "(target 10%: missed)",
    ]
