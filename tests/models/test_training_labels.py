"""Landmarks of what is trained on: found by name, told where missing, refused where they do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.landmarks.landmark_files import save_canonical, save_clip, save_stills
from models.training.data.frames import Clip
from models.training.data.labels import Labels, canonical_face
from shared.errors import RequestError
from shared.keypoints import Floats
from tests.drawn_face import face

CLIPS = [Clip("a.mp4", (b"",) * 3), Clip("b.mp4", (b"",) * 2)]


def faces(count: int) -> Floats:
    return np.stack([face(lips=0.01 * n) for n in range(count)])


def folder(place: Path, **clips: int) -> Path:
    """Write the landmarks of clips with so many frames each to a folder."""
    place.mkdir()
    for name, frames in clips.items():
        save_clip(place / f"{name}.npz", f"{name}.mp4", faces(frames))
    return place


def test_without_folders_there_are_none() -> None:
    labels = Labels.of([], CLIPS, None, 0)
    assert labels.clips is None
    assert labels.stills is None
    assert canonical_face([]) is None


def test_each_clip_has_its_own_from_whichever_folder(tmp_path: Path) -> None:
    folders = [folder(tmp_path / "one", b=2), folder(tmp_path / "two", a=3)]
    labels = Labels.of(folders, CLIPS, None, 0)
    assert labels.clips is not None
    for found, clip in zip(labels.clips, CLIPS, strict=True):
        np.testing.assert_allclose(found, faces(len(clip.frames)), atol=1e-3)
    assert labels.stills is None


def test_what_is_missing_is_counted_and_unknown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = Labels.of([folder(tmp_path / "one", a=3)], CLIPS, None, 0)
    assert labels.clips is not None
    assert np.isfinite(labels.clips[0]).all()
    assert labels.clips[1].shape == (2, 175, 2)
    assert np.isnan(labels.clips[1]).all()
    assert "1 of 2 clips have no landmarks" in caplog.text


def test_landmarks_of_nothing_that_is_trained_on_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="None of the clips has landmarks; make them with"):
        Labels.of([folder(tmp_path / "other", c=3)], CLIPS, None, 0)
    with pytest.raises(RequestError, match="no landmarks in"):
        Labels.of([folder(tmp_path / "empty")], CLIPS, None, 0)


def test_landmarks_of_other_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"a\.mp4 has 3 frames to train on, but landmarks of 4;"):
        Labels.of([folder(tmp_path / "one", a=4, b=2)], CLIPS, None, 0)


def test_portraits_have_theirs_where_there_are_those_of_all(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain, with_stills = folder(tmp_path / "one", a=3), folder(tmp_path / "two", b=2)
    save_stills(with_stills, {"portraits": faces(4)})
    labels = Labels.of([plain, with_stills], CLIPS, tmp_path / "portraits", 4)
    assert labels.stills is not None
    np.testing.assert_allclose(labels.stills, faces(4), atol=1e-3)
    assert not caplog.text
    for stills, count in ((tmp_path / "portraits", 5), (tmp_path / "others", 4)):
        caplog.clear()
        assert Labels.of([plain, with_stills], CLIPS, stills, count).stills is None
        assert f"no landmarks of the portraits in {stills}" in caplog.text


def test_the_canonical_face_is_that_of_the_first_folder_that_has_one(tmp_path: Path) -> None:
    without, first, second = (folder(tmp_path / name, a=3) for name in ("without", "first", "second"))
    mesh = np.pad(face(), ((0, 0), (0, 1)))
    save_canonical(first, mesh)
    save_canonical(second, 2 * mesh)
    np.testing.assert_allclose(canonical_face([second, first]), 2 * mesh, atol=1e-6)
    np.testing.assert_allclose(canonical_face([without, first, second]), mesh, atol=1e-6)
    with pytest.raises(RequestError, match="not a canonical face"):
        canonical_face([without])
