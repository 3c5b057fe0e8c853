"""`python -m models.training landmarks`: every frame that training keeps, once, whatever ends a run."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.harness.media import write_mp4
from models.landmarks import points as landmarks
from models.landmarks.finder import LandmarkFinder
from models.landmarks.landmark_files import LandmarkFolder
from models.training.__main__ import main
from models.training.data import landmarks_command as command
from models.training.data.frames import load_clips
from sender.demo import pose_at
from shared.portrait.portrait import Portrait

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of the drawn portrait, of 3 and 2 kept frames, and two pictures of it."""
    place = tmp_path_factory.mktemp("clips")
    portrait = Portrait()
    drawn = [portrait.draw(pose_at(n / 8)) for n in range(3)]
    for name, frames in (("a", drawn), ("b", drawn[:2])):
        (place / "clips").mkdir(exist_ok=True)
        write_mp4(place / "clips" / f"{name}.mp4", frames, fps=8)
    (place / "faces").mkdir()
    for index, picture in enumerate(drawn[:2]):
        wide = np.pad(picture, ((0, 0), (64, 64), (0, 0)))
        Image.fromarray(wide).save(place / "faces" / f"{index}.jpg", quality=95)
    return place


def run(clips: Path, networks: Path, output: Path, *more: str) -> int:
    words = ["landmarks", "--models", str(networks), "--output", str(output), "--cache", str(clips / "cache")]
    return main([*words, *more])


def test_clips_and_pictures_become_landmarks_once(
    clips: Path, mesh_networks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--clips", str(clips / "clips"), "--stills", str(clips / "faces"))
    assert run(clips, mesh_networks, tmp_path / "out", *given) == 0
    assert "2 clips made, 0 already there; 2 pictures" in capsys.readouterr().out
    folder = LandmarkFolder.load(tmp_path / "out")
    assert set(folder.clips) == {"a.mp4", "b.mp4"}
    assert folder.of("a.mp4").shape == (3, 175, 2)
    assert np.isfinite(folder.of("a.mp4")).all()
    # The pictures are cut square, as training cuts them: the same faces as in the clips.
    np.testing.assert_allclose(folder.stills("faces"), folder.of("b.mp4"), atol=0.03)
    mesh = folder.canonical()
    np.testing.assert_allclose(mesh, mesh[landmarks.MIRROR] * [-1, 1, 1], atol=1e-6)
    assert np.abs(mesh[:, 2]).max() > 0.01
    before = {file: file.read_bytes() for file in (tmp_path / "out").rglob("*")}
    assert run(clips, mesh_networks, tmp_path / "out", *given) == 0
    assert "0 clips made, 2 already there; 2 pictures" in capsys.readouterr().out
    assert {file: file.read_bytes() for file in (tmp_path / "out").rglob("*")} == before


def test_goes_on_where_it_was_killed(
    clips: Path, mesh_networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    follow = LandmarkFinder.follow

    def stopping(self: LandmarkFinder, pictures: object) -> object:
        looked.append(1)
        if len(looked) in (2, 4):
            raise KeyboardInterrupt
        return follow(self, pictures)  # type: ignore[arg-type]

    monkeypatch.setattr(LandmarkFinder, "follow", stopping)
    monkeypatch.setattr(command, "_BLOCK", 1)
    given = ("--clips", str(clips / "clips"), "--stills", str(clips / "faces"))
    # Stopped in the second clip, then in the second picture after it: nothing is looked at twice.
    assert run(clips, mesh_networks, tmp_path, *given) == 130
    assert set(LandmarkFolder.load(tmp_path).clips) == {"a.mp4"}
    assert run(clips, mesh_networks, tmp_path, *given) == 130
    assert run(clips, mesh_networks, tmp_path, *given) == 0
    assert len(looked) == 6
    folder = LandmarkFolder.load(tmp_path)
    assert len(folder.stills("faces")) == 2
    assert {file.name for file in tmp_path.iterdir()} == {
        "a.mp4.clip.npz", "b.mp4.clip.npz", "faces.npz", "canonical.npz"
    }  # fmt: skip


def test_a_clip_that_changed_is_looked_at_again(clips: Path, mesh_networks: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    shutil.copy(clips / "clips" / "b.mp4", mine / "a.mp4")
    assert run(clips, mesh_networks, tmp_path / "out", "--clips", str(mine)) == 0
    shutil.copy(clips / "clips" / "a.mp4", mine / "a.mp4")
    assert run(clips, mesh_networks, tmp_path / "out", "--clips", str(mine)) == 0
    assert len(LandmarkFolder.load(tmp_path / "out").of("a.mp4")) == len(
        load_clips([mine], clips / "cache")[0].frames
    )


def test_wrong_requests_are_told(
    clips: Path, mesh_networks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(clips / "clips", tmp_path / "clips" / "more")
    shutil.copytree(clips / "clips", tmp_path / "clips" / "other")
    for more, words in (
        ((), "give folders with --clips or --stills"),
        (("--clips", str(tmp_path / "clips")), "2 clips are called a.mp4"),
        (("--clips", str(tmp_path / "missing")), "no folder"),
    ):
        assert run(clips, mesh_networks, tmp_path / "out", *more) == 2
        assert words in capsys.readouterr().err
    assert run(clips, tmp_path, tmp_path / "out", "--clips", str(clips / "clips")) == 2
    assert "face_landmark.tflite" in capsys.readouterr().err
