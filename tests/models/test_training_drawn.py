"""Drawn clips are read like any others, frame for frame with their landmarks, and drawn once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.landmarks.files import LandmarkFolder
from models.landmarks.points import NUMBERS
from models.training.__main__ import main
from models.training.data import load_clips
from models.training.drawn_motion import motion
from shared.portrait import points


def draw(folder: Path, people: int, *more: str) -> int:
    return main(["drawn", "--people", str(people), "--frames", "3", "--output", str(folder), *more])


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
        assert len(clip.frames) == 3
        found = marks.of(clip.name)
        assert found.shape == (3, 175, 2)
        assert np.isfinite(found).all()
    a, b = (marks.of(clip.name) for clip in clips)
    assert np.abs(a - b).max() > 0.05
    pictures = [clip.picture(0).astype(int) for clip in clips]
    assert np.abs(pictures[0] - pictures[1]).mean() > 10


@pytest.mark.parametrize(
    ("people", "more", "says"),
    [(0, [], "--people"), (1, ["--frames", "1"], "--frames")],
)
def test_numbers_that_make_no_sense_are_refused(
    tmp_path: Path, people: int, more: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert draw(tmp_path, people, *more) == 2
    assert says in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert draw(tmp_path / "file", 1) == 2
    assert "--output" in capsys.readouterr().err


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
