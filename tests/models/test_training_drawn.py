"""Drawn clips are read like any others, frame for frame with their landmarks, and drawn once."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from models.build import load_landmark_finder
from models.landmarks.landmark_files import LandmarkFolder, save_canonical, save_clip
from models.landmarks.points import NOSE_TIP, NUMBERS, RIGHT_EYE, eye_distance, openings
from models.training.__main__ import main
from models.training.data import drawn
from models.training.data.drawn_motion import motion
from models.training.data.frames import load_clips
from models.training.data.labels import canonical_face
from sender.capture import open_source
from shared.keypoints import Floats
from shared.portrait import points
from shared.portrait.looks import Looks
from shared.portrait.portrait import Portrait
from shared.portrait.pose import Pose

pytestmark = pytest.mark.slow


def draw(folder: Path, people: int, *more: str) -> int:
    return main(["drawn", "--people", str(people), "--frames", "2", "--output", str(folder), *more])


def test_the_points_are_the_kept_ones() -> None:
    assert tuple(NUMBERS) == points.NUMBERS


def test_clips_and_landmarks_belong_together_and_are_drawn_once(tmp_path: Path) -> None:
    folder = tmp_path / "drawn"
    assert draw(folder, 1) == 0
    first = folder / "drawn-0-00000.mp4"
    written = first.stat().st_mtime_ns
    assert draw(folder, 2) == 0
    assert first.stat().st_mtime_ns == written
    clips, marks = load_clips([folder], tmp_path / "cache"), LandmarkFolder.load(folder)
    assert [clip.person for clip in clips] == ["drawn-0-00000", "drawn-0-00001"]
    for clip in clips:
        assert len(clip.frames) == 2
        found = marks.of(clip.name)
        assert found.shape == (2, 175, 2)
        assert np.isfinite(found).all()
    a, b = (marks.of(clip.name) for clip in clips)
    assert np.abs(a - b).max() > 0.05
    pictures = [clip.picture(0).astype(int) for clip in clips]
    assert np.abs(pictures[0] - pictures[1]).mean() > 10


def test_drawn_people_have_a_canonical_face_that_real_ones_go_before(tmp_path: Path) -> None:
    folder, real = tmp_path / "drawn", tmp_path / "real"
    assert draw(folder, 1) == 0
    drawn_face = canonical_face([folder])
    assert drawn_face is not None
    lips, lids, gaze = openings(drawn_face[:, :2])
    assert 0 <= lips < 0.05
    assert 0.2 < lids < 0.5
    assert gaze == pytest.approx(0.5, abs=1e-3)
    assert drawn_face[NOSE_TIP, 2] < drawn_face[RIGHT_EYE, 2].min()
    real.mkdir()
    save_canonical(real, drawn_face * 2)
    save_clip(real / "a.npz", "a.mp4", np.zeros((1, 175, 2), np.float32))
    found = canonical_face([folder, real])
    assert found is not None
    np.testing.assert_array_equal(found, drawn_face * 2)


def test_what_is_drawn_when_it_is_stopped_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(file: Path, seed: list[int], options: Namespace) -> Floats:
        if seed == [0, 2]:
            raise KeyboardInterrupt
        return _draw_person(file, seed, options)

    _draw_person = drawn._draw_person
    monkeypatch.setattr(drawn, "_draw_person", stopped)
    assert draw(tmp_path, 3) == 130
    assert set(LandmarkFolder.load(tmp_path).clips) == {"drawn-0-00000.mp4", "drawn-0-00001.mp4"}


@pytest.mark.parametrize(
    ("people", "more", "says"),
    [
        (0, [], "--people"),
        (1, ["--frames", "1"], "--frames"),
        (1, ["--frames", "500"], "--frames"),
        (1, ["--size", "301"], "--size"),
        (1, ["--size", "9000"], "--size"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(
    tmp_path: Path, people: int, more: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert draw(tmp_path, people, *more) == 2
    assert says in capsys.readouterr().err


def test_larger_people_are_the_same_people(tmp_path: Path) -> None:
    usual, large, sharp = tmp_path / "usual", tmp_path / "large", tmp_path / "sharp"
    more = ["--motion", "call", "--seed", "3"]
    assert draw(usual, 1, *more) == 0
    assert draw(large, 1, "--size", "512", *more) == 0
    assert draw(sharp, 1, "--size", "512", "--in-focus", *more) == 0
    first = []
    for folder in (usual, large, sharp):
        source = open_source(str(folder / "drawn-3-00000.mp4"), side=512)
        picture = source.frame(0)
        source.close()
        assert picture is not None
        first.append(picture.astype(int))
    assert np.abs(first[0] - first[1]).mean() < 5
    edges = [np.abs(np.diff(picture.mean(2), axis=1)).mean() for picture in first]
    assert edges[0] < edges[1] < edges[2]
    marks = [LandmarkFolder.load(folder).of("drawn-3-00000.mp4") for folder in (usual, large)]
    np.testing.assert_array_equal(*marks)


def test_a_folder_that_cannot_be_written_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert draw(tmp_path / "file", 1) == 2
    assert "--output" in capsys.readouterr().err


def test_a_face_mesh_finds_drawn_faces_where_they_are(mesh_networks: Path) -> None:
    finder, rng = load_landmark_finder(mesh_networks), np.random.default_rng(3)
    for pose in (Pose(), Pose(mouth=0.8, yaw=0.2), Pose(blink=1, yaw=-0.2)):
        person = Portrait(Looks.random(rng))
        found = finder.find(person.draw(pose))
        assert found is not None
        truth = person.landmarks(pose)
        off = np.linalg.norm(found.points[:, :2] - truth, axis=1)
        assert off.mean() < 0.07 * eye_distance(truth[None])[0]


def test_people_open_their_mouths_shut_their_eyes_and_look_aside() -> None:
    poses = [pose for seed in range(20) for pose in motion(np.random.default_rng(seed), 40, 8.0)]

    def share(true: list[bool]) -> float:
        return sum(true) / len(poses)

    assert 0.1 < share([pose.mouth > 0.4 for pose in poses]) < 0.6
    assert 0.08 < share([pose.blink > 0.9 for pose in poses]) < 0.4
    assert 0.08 < share([0.2 < pose.blink < 0.8 for pose in poses]) < 0.4
    assert share([abs(pose.gaze[0]) > 0.5 for pose in poses]) > 0.2
    assert share([abs(pose.yaw) > 0.3 for pose in poses]) > 0.1
    assert share([pose.blink == 0 and abs(pose.gaze[0]) < 0.3 for pose in poses]) > 0.15
