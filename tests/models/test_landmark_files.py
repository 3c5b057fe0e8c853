"""Folders of landmarks: what is written is read again; what is missing or damaged is told."""

from pathlib import Path

import numpy as np
import pytest

from models.landmarks.landmark_files import (
    CANONICAL,
    STILLS,
    LandmarkFolder,
    save_canonical,
    save_clip,
    save_stills,
)
from shared.errors import KeycastError, RequestError
from shared.keypoints import Floats


def walk(frames: int, seed: int = 0) -> Floats:
    """Return landmarks that move all over the picture and out of it; no face in the second frame."""
    found = np.random.default_rng(seed).uniform(-1.5, 1.5, (frames, 175, 2)).astype(np.float32)
    found[1] = np.nan
    return found


def test_clips_are_found_by_file_name_in_any_file(tmp_path: Path) -> None:
    first, second = walk(5), walk(3, 1)
    save_clip(tmp_path / "one.npz", "one.mp4", first)
    save_clip(tmp_path / "two.npz", "file", second)
    folder = LandmarkFolder.load(tmp_path)
    assert set(folder.clips) == {"one.mp4", "file"}
    assert "one.mp4" in folder
    assert "one" not in folder
    for name, wanted in (("one.mp4", first), ("file", second)):
        got = folder.of(name)
        assert got.dtype == np.float32
        assert np.isnan(got[1]).all()
        np.testing.assert_allclose(got, wanted, atol=0.5 / 4096 + 1e-6)
    assert {file.name for file in tmp_path.iterdir()} == {"one.npz", "two.npz"}


def test_stored_as_wrapping_differences(tmp_path: Path) -> None:
    there = np.full((3, 175, 2), 7.5, np.float32)
    there[1] = np.nan
    save_clip(tmp_path / "a.npz", "a.mp4", there)
    with np.load(tmp_path / "a.npz") as stored:
        steps = stored["a.mp4"]
    assert steps.dtype == np.int16
    assert np.cumsum(steps, axis=0, dtype=np.int16)[:, 0, 0].tolist() == [30720, -32768, 30720]


def test_what_lies_beyond_the_numbers_is_held_at_their_end(tmp_path: Path) -> None:
    save_clip(tmp_path / "a.npz", "a.mp4", np.full((2, 175, 2), -99, np.float32))
    assert LandmarkFolder.load(tmp_path).of("a.mp4") == pytest.approx(np.full((2, 175, 2), -8), abs=1e-3)


def test_stills_and_the_canonical_face(tmp_path: Path) -> None:
    stills, mesh = walk(4), np.random.default_rng(2).normal(size=(175, 3)).astype(np.float32)
    save_stills(tmp_path, {"faces": stills})
    save_canonical(tmp_path, mesh)
    folder = LandmarkFolder.load(tmp_path)
    assert not folder.clips
    np.testing.assert_allclose(folder.stills("faces"), stills, atol=0.5 / 4096 + 1e-6)
    assert (folder.canonical() == mesh).all()
    with pytest.raises(RequestError, match="others"):
        folder.stills("others")


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no landmarks in"):
        LandmarkFolder.load(tmp_path)
    save_clip(tmp_path / "a.npz", "a.mp4", walk(2))
    folder = LandmarkFolder.load(tmp_path)
    with pytest.raises(RequestError, match=r"no landmarks of b\.mp4"):
        folder.of("b.mp4")
    with pytest.raises(RequestError, match=STILLS):
        folder.stills("faces")
    with pytest.raises(RequestError, match=CANONICAL):
        folder.canonical()


def test_damaged_files_are_told(tmp_path: Path) -> None:
    save_clip(tmp_path / "a.npz", "a.mp4", walk(40))
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RequestError, match=r"a\.npz cannot be read"):
        LandmarkFolder.load(tmp_path)
    # The list of what is in it is whole, the numbers are not.
    (tmp_path / "a.npz").write_bytes(whole[:200] + bytes(200) + whole[400:])
    with pytest.raises(RequestError, match=r"a\.npz cannot be read"):
        LandmarkFolder.load(tmp_path).of("a.mp4")
    np.savez(tmp_path / "a.npz", **{"a.mp4": np.zeros((4, 468, 2), np.int16)})
    with pytest.raises(RequestError, match="not landmarks"):
        LandmarkFolder.load(tmp_path).of("a.mp4")
    np.savez(tmp_path / CANONICAL, mesh=np.zeros((175, 3)), index=np.arange(175), mirror=np.arange(175))
    with pytest.raises(RequestError, match="different set of landmarks"):
        LandmarkFolder.load(tmp_path).canonical()


def test_a_failed_save_keeps_what_was_there(tmp_path: Path) -> None:
    save_clip(tmp_path / "a.npz", "a.mp4", walk(2))
    (tmp_path / "a.part").mkdir()
    with pytest.raises(KeycastError, match=r"Cannot write .*a\.npz"):
        save_clip(tmp_path / "a.npz", "a.mp4", walk(9))
    assert len(LandmarkFolder.load(tmp_path).of("a.mp4")) == 2


def test_reads_the_landmarks_of_the_real_clips(finest_landmarks: Path) -> None:
    folder = LandmarkFolder.load(finest_landmarks)
    points = folder.of("grid-bbaf2n_009.mp4")
    assert points.shape == (25, 175, 2)
    assert np.isfinite(points).all()
    assert np.abs(points).max() < 1
    assert folder.stills("faces").shape == (3000, 175, 2)
