"""Landmark measures on renderings of the drawn portrait, whose lips and lids are known, and of calls."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.harness.calls import Call
from bench.harness.landmark_measures import (
    COLUMNS,
    Landmarks,
    Speech,
    errors,
    open_landmarks,
    pool,
    with_slopes,
)
from bench.harness.processes import CallRecord
from bench.network.lossy_path import Counts
from models.build import load_landmark_finder
from models.landmarks import points as landmarks
from models.landmarks.finder import LandmarkFinder
from models.landmarks.landmark_files import save_clip
from sender.demo import DemoSource, pose_at
from shared.errors import RequestError
from shared.keypoints import Pictures
from shared.portrait.portrait import Portrait
from shared.portrait.pose import Pose
from tests.drawn_face import face

pytestmark = pytest.mark.slow

MOMENTS = [*np.linspace(0.1, 5.9, 14), 1.05, 3.45]


@pytest.fixture(scope="module")
def finder(mesh_networks: Path) -> LandmarkFinder:
    return load_landmark_finder(mesh_networks)


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return Portrait()


@pytest.fixture(scope="module")
def driving(portrait: Portrait) -> list[Pictures]:
    return [portrait.draw(pose_at(second)) for second in MOMENTS]


@pytest.fixture(scope="module")
def measure(
    finder: LandmarkFinder, portrait: Portrait, driving: list[Pictures]
) -> Callable[[Callable[[Pose], Pose]], dict[str, float]]:
    """Return what is measured of renderings in which each pose is changed."""

    def measured(change: Callable[[Pose], Pose]) -> dict[str, float]:
        speech = Speech(finder, driving[0])
        speech.add(driving, [portrait.draw(change(pose_at(second))) for second in MOMENTS])
        return with_slopes(speech.columns())

    return measured


def test_an_exact_rendering_follows_all_the_way(
    measure: Callable[[Callable[[Pose], Pose]], dict[str, float]],
) -> None:
    row = measure(lambda pose: pose)
    assert (row["landmark_frames"], row["frames_without_landmarks"]) == (len(MOMENTS), 0)
    for part in landmarks.OPENINGS:
        assert row[f"{part}_variance"] > 0
        assert row[f"{part}_slope"] == pytest.approx(1)
        assert row[f"{part}_correlation"] == pytest.approx(1)
    assert row["landmark_error"] == row["landmark_error_lips"] == row["landmark_error_eyes"] == 0
    assert row["static_landmark_error"] > 0.02


def test_a_head_that_moves_with_resting_lips_and_lids_follows_hardly(
    measure: Callable[[Callable[[Pose], Pose]], dict[str, float]],
) -> None:
    still = Pose()
    row = measure(
        lambda pose: replace(pose, mouth=still.mouth, smile=still.smile, blink=still.blink, gaze=still.gaze)
    )
    assert abs(row["lips_slope"]) < 0.2
    assert abs(row["lids_slope"]) < 0.2
    assert 0 < row["landmark_error"] < row["static_landmark_error"]
    assert row["landmark_error_lips"] > 0


def test_half_a_movement_stands_between_and_the_parts_are_told_apart(
    measure: Callable[[Callable[[Pose], Pose]], dict[str, float]],
) -> None:
    half = measure(lambda pose: replace(pose, mouth=pose.mouth / 2))
    assert 0.25 < half["lips_slope"] < 0.75
    assert half["lids_slope"] == pytest.approx(1, abs=0.15)
    staring = measure(lambda pose: replace(pose, blink=0.0))
    assert staring["lids_slope"] < 0.4
    assert staring["lips_slope"] == pytest.approx(1, abs=0.1)


def test_moments_are_those_of_the_driving_frames(finder: LandmarkFinder, portrait: Portrait) -> None:
    rest = Pose()
    poses = [rest, replace(rest, mouth=1.0), rest, replace(rest, blink=1.0), rest]
    pictures = [portrait.draw(pose) for pose in poses]
    speech = Speech(finder)
    speech.add(pictures, [pictures[0]] * 5)
    moments = speech.moments()
    assert (moments["widest mouth"][0], moments["closed lids"][0]) == (1, 3)
    assert min(score for _, score in moments.values()) > 0


def test_frames_without_a_face_are_counted_and_left_out(
    finder: LandmarkFinder, driving: list[Pictures]
) -> None:
    grey = np.full_like(driving[0], 90)
    truth = np.stack([face()] * 3)
    speech = Speech(finder, truth=truth)
    speech.add([driving[0], grey, driving[1]], [driving[0], driving[0], driving[2]])
    row = speech.columns()
    assert (row["landmark_frames"], row["frames_without_landmarks"]) == (2, 1)
    assert row["landmark_error"] > 0
    wanted = np.stack([finder.follow([driving[0]])[0], finder.follow([driving[1]])[0]])
    assert row["finder_error"] == pytest.approx(errors("x", truth[:2], wanted)["x"], rel=0.05)
    nothing = Speech(finder, grey)
    nothing.add([grey], [grey])
    row = with_slopes(nothing.columns())
    assert all(np.isnan(row[name]) for name in (*COLUMNS, "static_landmark_error"))
    assert nothing.moments() == {}


def test_errors_are_in_eye_distances() -> None:
    seen, moved = face()[None], face()[None] + np.float32([0.04, 0])
    found = errors("x", seen, moved)
    assert found == {name: pytest.approx(0.1, abs=1e-5) for name in ("x", "x_lips", "x_eyes")}
    lips = seen.copy()
    lips[:, landmarks.LIPS] += 0.4
    found = errors("x", seen, lips)
    assert (found["x_lips"], found["x_eyes"]) == (pytest.approx(2**0.5, abs=1e-5), 0)
    assert 0 < found["x"] < 1


def test_rows_without_landmarks_are_not_pooled() -> None:
    assert pool([{"mae": 0.1}]) == {}


def test_a_call_is_compared_by_frame_number(finder: LandmarkFinder, tmp_path: Path) -> None:
    source = DemoSource()
    pictures = [source.frame(number) for number in range(0, 40, 4)]
    source.close()
    np.save(tmp_path / "shown.npy", np.stack([p for p in pictures if p is not None]))

    def called(offset: int) -> dict[str, float]:
        shown = [(number + offset, "forecast", 0.0) for number in range(0, 40, 4)]
        record = CallRecord({}, {"shown": shown}, tmp_path / "shown.npy", Counts(), Counts())
        given = Namespace(source="demo", crop="centre", loop=True, size=256)
        return Call(given).speech(record, Landmarks(finder))

    exact, late = called(0), called(6)
    assert tuple(exact) == COLUMNS
    assert exact["lips_slope"] == pytest.approx(1)
    assert exact["landmark_error"] == 0
    assert late["landmark_error"] > 0
    assert late["lips_correlation"] < 0.9
    assert Call(Namespace()).speech(CallRecord({}, {}, tmp_path, Counts(), Counts()), None) == {}


def test_folders_are_taken_for_what_they_hold(mesh_networks: Path, tmp_path: Path) -> None:
    save_clip(tmp_path / "a.npz", "a.mp4", np.stack([face()]))
    assert open_landmarks([]) is None
    for given in ([mesh_networks, tmp_path], [tmp_path, mesh_networks]):
        found = open_landmarks(given)
        assert found is not None
        assert found.truth is not None
        assert "a.mp4" in found.truth
    alone = open_landmarks([mesh_networks])
    assert alone is not None
    assert alone.truth is None
    for wrong, words in (
        ([tmp_path], r"no face_landmark\.tflite in"),
        ([mesh_networks, tmp_path, tmp_path], "takes one folder of networks"),
        ([mesh_networks, tmp_path / "none"], "There are no landmarks in"),
    ):
        with pytest.raises(RequestError, match=words):
            open_landmarks(wrong)
