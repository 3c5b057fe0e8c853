import logging
from pathlib import Path

import numpy as np
import pytest

from models.lite.layout import LAYOUT
from models.training.data.tracks import Track, Tracks, load_tracks, resample, save_track, split_by_person
from shared.errors import RequestError
from shared.keypoints import Floats


def ramp(count: int, slope: float = 1.0) -> Floats:
    return (np.arange(count)[:, None] * slope + np.zeros((1, 60))).astype(np.float32)


def test_what_is_saved_is_read(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).normal(size=(7, 60)).astype(np.float32)
    save_track(tmp_path / "a.npz", frames, 29.97, "ann", "beef", LAYOUT)
    read = load_tracks(tmp_path)
    assert (read.tracks_of, read.slow, read.broken, read.frames) == ("beef", 0, 0, 7)
    assert (read.clips[0].name, read.clips[0].person) == ("a", "ann")
    np.testing.assert_array_equal(read.clips[0].frames, frames)


@pytest.mark.parametrize(("fps", "count"), [(60.0, 6), (25.0, 13), (24.0, 13), (50.0, 7)])
def test_resampling_keeps_time(fps: float, count: int) -> None:
    # The value of a frame is its time in seconds, so the resampled values are k / 30.
    result = resample(ramp(11, 1 / fps), fps)
    np.testing.assert_allclose(result[:, 3], np.arange(count) / 30, atol=1e-6)
    assert result.dtype == np.float32


def test_slow_clips_are_left_out_and_broken_files_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_track(tmp_path / "good.npz", ramp(5), 30.0, "a", "f", LAYOUT)
    save_track(tmp_path / "slow.npz", ramp(5), 15.0, "a", "f", LAYOUT)
    (tmp_path / "text.npz").write_text("not a track")
    np.savez(tmp_path / "pickle.npz", keypoints=np.array([{}], dtype=object), fps=30.0, person="a")
    np.savez(tmp_path / "narrow.npz", keypoints=np.zeros((5, 59), np.float32), fps=30.0, person="a")
    np.savez(tmp_path / "without.npz", keypoints=ramp(5))
    save_track(tmp_path / "nan.npz", np.full((5, 60), np.nan, np.float32), 30.0, "a", "f", LAYOUT)
    save_track(tmp_path / "rate.npz", ramp(5), float("nan"), "a", "f", LAYOUT)
    whole = (tmp_path / "good.npz").read_bytes()
    (tmp_path / "truncated.npz").write_bytes(whole[: len(whole) // 2])
    with caplog.at_level(logging.WARNING):
        read = load_tracks(tmp_path)
    assert ([clip.name for clip in read.clips], read.slow, read.broken) == (["good"], 1, 7)
    assert len(caplog.records) == 7


def test_a_folder_without_usable_tracks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no usable tracks"):
        load_tracks(tmp_path)
    with pytest.raises(RequestError, match="no folder"):
        load_tracks(tmp_path / "none")


def test_tracks_of_several_detectors_are_refused(tmp_path: Path) -> None:
    save_track(tmp_path / "a.npz", ramp(5), 30.0, "a", "one", LAYOUT)
    save_track(tmp_path / "b.npz", ramp(5), 30.0, "b", "two", LAYOUT)
    with pytest.raises(RequestError, match="several detectors"):
        load_tracks(tmp_path)


def test_people_are_held_out_whole() -> None:
    clips = tuple(Track(f"{index}", f"p{index % 10}", ramp(2)) for index in range(30))
    rest, held = split_by_person(Tracks(clips, 0, 0, "f", LAYOUT), 0.2, seed=0)
    assert (len(rest.clips), len(held.clips)) == (24, 6)
    assert not {clip.person for clip in rest.clips} & {clip.person for clip in held.clips}
    with pytest.raises(RequestError, match="one person"):
        split_by_person(Tracks(clips[:1], 0, 0, "f", LAYOUT), 0.2, seed=0)
