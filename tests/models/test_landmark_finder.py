"""The landmark finder against what a finer mesh found, and what it says of pictures without faces."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from models.build import load_landmark_finder
from models.clips.video import open_clip
from models.landmarks import points as landmarks
from models.landmarks.finder import LandmarkFinder
from models.landmarks.kept import kept_frames
from models.landmarks.landmark_files import LandmarkFolder
from sender.demo import pose_at
from shared.errors import RequestError
from shared.keypoints import Floats, Pictures
from shared.media.heads import Head
from shared.portrait.portrait import Portrait


@pytest.fixture(scope="module")
def finder(mesh_networks: Path) -> LandmarkFinder:
    return load_landmark_finder(mesh_networks)


def kept(clip: Path, count: int) -> list[Pictures]:
    """Return the first frames that training keeps of a clip of 25 frames a second."""
    with open_clip(clip) as (_, found):
        return [picture() for number, (_, picture) in enumerate(islice(found, 3 * count)) if number % 3 == 0]


def error(found: Floats, truth: Floats, rows: slice | landmarks.Rows = slice(None)) -> float:
    """Return the mean distance of landmarks (T, 175, 2) in eye distances."""
    off = np.linalg.norm(found[:, rows] - truth[:, rows], axis=-1)
    return float((off / landmarks.eye_distance(truth)[:, None]).mean())


@pytest.mark.slow
def test_finds_what_the_finer_mesh_finds(
    finder: LandmarkFinder, other_people: Path, finest_landmarks: Path
) -> None:
    name = "grid-bbaf2n_009.mp4"
    truth = LandmarkFolder.load(finest_landmarks).of(name)[:8]
    found = finder.follow(kept(other_people / name, 8))
    assert found.shape == (8, 175, 2)
    assert error(found, truth) < 0.04
    assert error(found, truth, landmarks.EYES) < 0.03
    assert error(found, truth, landmarks.RIGHT_IRIS) < 0.03
    assert error(found, truth, landmarks.LEFT_IRIS) < 0.03
    wanted, got = (landmarks.openings(points)[:, 0] for points in (truth, found))
    assert np.corrcoef(wanted, got)[0, 1] > 0.8


def test_what_stays_in_place_does_not_move_and_following_it_would(
    finder: LandmarkFinder, other_people: Path
) -> None:
    picture = kept(other_people / "cvt-2GdHDMQlrfA-0-0_x014.mp4", 1)[0]
    found = finder.in_place([picture] * 4)
    assert found.shape == (4, 175, 2)
    assert (found == found[0]).all()
    assert error(found, finder.follow([picture] * 4)) < 0.05
    assert np.isnan(finder.in_place([np.zeros_like(picture)] * 2)).all()


def test_the_way_of_looking_hardly_matters(finder: LandmarkFinder, other_people: Path) -> None:
    pictures = kept(other_people / "grid-bbaf2n_009.mp4", 3)
    following, alone = finder.follow(pictures), [finder.find(picture) for picture in pictures]
    assert error(following, np.stack([one.points[:, :2] for one in alone if one])) < 0.02
    # A mirror image is of the same face.
    mirrored = finder.find(np.ascontiguousarray(pictures[0][:, ::-1]))
    assert mirrored is not None
    assert error(landmarks.mirrored(mirrored.points[None, :, :2]), following[:1]) < 0.02
    # So is a larger and wider picture.
    wide = np.repeat(np.repeat(pictures[0], 2, 0), 2, 1)
    wide = np.concatenate([wide, np.zeros((512, 256, 3), np.uint8)], 1)
    found = finder.find(wide)
    assert found is not None
    places = (found.points[None, :, :2] + 1) * [1.5, 1] - 1
    assert error(places.astype(np.float32), following[:1]) < 0.02


@pytest.mark.slow
def test_a_drawn_face_has_its_parts_where_they_are_drawn(finder: LandmarkFinder) -> None:
    portrait = Portrait()
    found = finder.follow([portrait.draw(pose_at(second)) for second in (0.0, 0.1)])
    assert np.isfinite(found).all()
    right, left, mouth = (
        found[:, rows].mean(1) for rows in (landmarks.RIGHT_EYE, landmarks.LEFT_EYE, landmarks.LIPS)
    )
    assert (right[:, 0] < mouth[:, 0]).all()
    assert (mouth[:, 0] < left[:, 0]).all()
    assert (mouth[:, 1] > right[:, 1] + 0.2).all()


def test_no_face_is_nan_and_does_not_end_the_search(finder: LandmarkFinder, other_people: Path) -> None:
    (picture,) = kept(other_people / "grid-bbaf2n_009.mp4", 1)
    nothing = np.random.default_rng(0).integers(0, 255, picture.shape, np.uint8)
    found = finder.follow([picture, nothing, picture])
    assert np.isnan(found[1]).all()
    np.testing.assert_allclose(found[0], found[2], atol=0.02)
    assert finder.follow([]).shape == (0, 175, 2)


@pytest.mark.slow
def test_the_larger_of_two_faces_is_taken(mesh_networks: Path, other_people: Path) -> None:
    (picture,) = kept(other_people / "grid-bbaf2n_009.mp4", 1)
    both = np.zeros((256, 384, 3), np.uint8)
    both[:128, :128], both[:, 128:] = picture[::2, ::2], picture
    small, large = Head(64, 64, 55), Head(256, 128, 110)
    found = LandmarkFinder(mesh_networks, lambda _: [small, large]).find(both)
    assert found is not None
    assert found.points[landmarks.NOSE_TIP, 0] > 0
    # Where there is no other, the small one will do.
    found = LandmarkFinder(mesh_networks, lambda _: [small]).find(both)
    assert found is not None
    assert found.points[landmarks.NOSE_TIP, 0] < -0.5


def test_a_small_face_seen_within_a_large_one_is_not_believed(
    finder: LandmarkFinder, other_people: Path, finest_landmarks: Path
) -> None:
    # Her head falls forward fast; the mesh then sees a face in its lower half, and is as sure as ever.
    name = "cvt-r10EfWKkoZo-29-0_x042.mp4"
    with open_clip(other_people / name) as (rate, frames):
        every = [picture for _, picture in frames]
    numbers = list(kept_frames(len(every), rate))[86::2]
    found = finder.follow(every[number]() for number in numbers)
    assert error(found, LandmarkFolder.load(finest_landmarks).of(name)[86::2]) < 0.05


def test_missing_and_wrong_networks_are_told(tmp_path: Path, mesh_networks: Path) -> None:
    with pytest.raises(RequestError, match=r"There is no .*face_landmark\.tflite"):
        load_landmark_finder(tmp_path)
    iris = (mesh_networks / "iris_landmark.tflite").read_bytes()
    for wrong in (b"no network", iris):
        (tmp_path / "face_landmark.tflite").write_bytes(wrong)
        with pytest.raises(RequestError, match="is not the network"):
            load_landmark_finder(tmp_path)
