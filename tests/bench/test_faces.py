"""Lips and lids are told from the head they sit in, and boxes stay inside of the picture.

Faces are put by hand onto the drawn portrait, whose geometry is known: no detector is needed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image, ImageFilter

from bench.faces import (
    FACE_SIZE,
    PATCH_SIZE,
    Face,
    FaceFinder,
    Following,
    Points,
    face_from,
    lids_opening,
    lips_opening,
    patch,
)
from sender.demo import DemoSource, pose_at
from shared.errors import RequestError
from shared.keypoints import Pictures
from shared.portrait.points import NUMBERS
from shared.portrait.portrait import Portrait
from shared.portrait.pose import Pose

MOMENTS = [*np.linspace(0.1, 5.9, 16), 1.05, 3.45]


def portrait_face(portrait: Portrait, pose: Pose) -> Face:
    """Where the portrait's face is, with the mouth's corners where they are when it is shut."""
    marks = portrait.landmarks(replace(pose, mouth=0.0, smile=0.0, gaze=(0.0, 0.0)))
    points = marks[[NUMBERS.index(number) for number in (468, 473, 1, 61, 291)]]
    return Face(60, 40, 200, 220, (points.astype(float) + 1) * 128)


@pytest.fixture(scope="module")
def scene(portrait: Portrait) -> list[tuple[Pose, Face]]:
    """Poses that roll, sway, talk and blink, and the face in each, found a little wrong as detectors do."""
    random = np.random.default_rng(0)
    poses = [replace(pose_at(t), yaw=0.0, pitch=0.0) for t in MOMENTS]
    faces = [portrait_face(portrait, pose) for pose in poses]
    return [
        (pose, replace(face, points=face.points + random.normal(0, 0.7, (5, 2))))
        for pose, face in zip(poses, faces, strict=True)
    ]


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return Portrait()


@pytest.fixture(scope="module")
def driving(portrait: Portrait, scene: list[tuple[Pose, Face]]) -> list[Pictures]:
    return [portrait.draw(pose) for pose, _ in scene]


def following(
    scene: list[tuple[Pose, Face]], driving: list[Pictures], rendered: list[Pictures]
) -> tuple[Following, Following]:
    lips, lids = [], []
    for (_, face), wanted, got in zip(scene, driving, rendered, strict=True):
        lips.append((lips_opening(wanted, face), lips_opening(got, face)))
        lids.append((lids_opening(wanted, face), lids_opening(got, face)))
    return Following.of(lips), Following.of(lids)


def test_the_truth_follows_itself(scene: list[tuple[Pose, Face]], driving: list[Pictures]) -> None:
    for part in following(scene, driving, driving):
        assert part.variance > 0
        assert part.follow == pytest.approx(1)
        assert part.correlation == pytest.approx(1)


def test_a_head_that_moves_with_resting_lips_and_lids_follows_nothing(
    portrait: Portrait, scene: list[tuple[Pose, Face]], driving: list[Pictures]
) -> None:
    still = Pose()
    resting = [
        portrait.draw(
            replace(
                pose,
                mouth=still.mouth,
                smile=still.smile,
                blink=still.blink,
                brows=still.brows,
                gaze=still.gaze,
            )
        )
        for pose, _ in scene
    ]
    lips, lids = following(scene, driving, resting)
    assert abs(lips.follow) < 0.1
    assert abs(lids.follow) < 0.1


def test_half_a_movement_stands_between(
    portrait: Portrait, scene: list[tuple[Pose, Face]], driving: list[Pictures]
) -> None:
    half = [portrait.draw(replace(pose, mouth=pose.mouth / 2, blink=pose.blink * 0.7)) for pose, _ in scene]
    lips, lids = following(scene, driving, half)
    assert 0.25 < lips.follow < 0.75
    assert 0.25 < lids.follow < 0.75


def test_a_soft_rendering_moves_in_time(scene: list[tuple[Pose, Face]], driving: list[Pictures]) -> None:
    soft = [np.array(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(1.5))) for picture in driving]
    lips, lids = following(scene, driving, soft)
    assert lips.correlation > 0.85
    assert 0.25 < lips.follow < 0.9
    assert lids.correlation > 0.95


def test_lips_and_lids_are_told_apart(
    portrait: Portrait, scene: list[tuple[Pose, Face]], driving: list[Pictures]
) -> None:
    talking = [portrait.draw(replace(pose, blink=0.0)) for pose, _ in scene]
    lips, lids = following(scene, driving, talking)
    assert lips.follow == pytest.approx(1, abs=0.02)
    assert lids.follow < 0.2


def test_nothing_moving_has_no_slope() -> None:
    still = Following.of([(0.2, 0.1), (0.2, 0.3)])
    assert np.isnan(still.follow)
    assert np.isnan(still.correlation)
    assert np.isnan(Following.of([]).follow)
    assert Following.of([(0.1, 0.3), (0.2, 0.3)]).follow == 0


def test_a_patch_is_upright_in_a_face_that_is_not() -> None:
    picture = np.zeros((100, 120, 3), np.uint8)
    picture[:, 60:] = 200  # the right half is bright
    centre: Points = np.array([60.0, 50.0])
    straight = patch(picture, centre, np.array([40.0, 0.0]))
    turned = patch(picture, centre, np.array([0.0, 40.0]))  # the face's upper edge points down the picture
    assert straight.shape == (PATCH_SIZE, PATCH_SIZE, 3)
    assert straight[:, :15].max() == 0
    assert straight[:, 17:].min() == pytest.approx(200 / 255)
    # A quarter turn to the right: what is right in the picture is up in the face.
    assert turned[:15].min() == pytest.approx(200 / 255)
    assert turned[17:].max() == 0


def test_a_patch_beyond_the_border_repeats_it() -> None:
    picture = np.full((20, 20, 3), 51, np.uint8)
    assert patch(picture, np.array([-50.0, 500.0]), np.array([40.0, 10.0])) == pytest.approx(0.2)


ROW = np.array([100, 50, 60, 80, 110, 80, 150, 80, 130, 95, 115, 115, 145, 115, 0.9], np.float32)


def test_a_box_is_padded_by_a_tenth() -> None:
    face = face_from(ROW, 256, 256)
    assert face is not None
    assert (face.left, face.top, face.right, face.bottom) == (94, 42, 166, 138)
    assert face.cut(np.zeros((256, 256, 3), np.uint8)).shape == (FACE_SIZE, FACE_SIZE, 3)
    assert face.eyes.tolist() == [130, 80]
    assert face.mouth.tolist() == [130, 115]


def test_a_box_stays_inside_of_the_picture() -> None:
    moved = ROW.copy()
    moved[:2] = (-30, 200)
    face = face_from(moved, 256, 256)
    assert face is not None
    assert (face.left, face.top, face.right, face.bottom) == (0, 192, 36, 256)


@pytest.mark.parametrize(
    ("places", "value"), [([3], np.nan), ([7], np.inf), ([0], 400.0), ([2], 5.0), ([6], 112.0)]
)
def test_what_is_no_face_is_none(places: list[int], value: float) -> None:
    broken = ROW.copy()
    broken[places] = value
    assert face_from(broken, 256, 256) is None


def test_a_missing_or_wrong_detector_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="There is no face detector"):
        FaceFinder(tmp_path / "missing.onnx")
    (tmp_path / "text.onnx").write_text("no network")
    pictures = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, 128, 128]) for name in "xy"
    ]
    other = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])], "other", pictures[:1], pictures[1:]
    )
    onnx.save(
        onnx.helper.make_model(other, opset_imports=[onnx.helper.make_opsetid("", 18)]),
        tmp_path / "other.onnx",
    )
    for name in ("text.onnx", "other.onnx"):
        with pytest.raises(RequestError, match="not a YuNet face detector"):
            FaceFinder(tmp_path / name)


def test_the_detector_finds_the_portrait_where_it_is(face_detector: Path, portrait: Portrait) -> None:
    source = DemoSource(1 / 30)
    picture = source.frame(0)
    source.close()
    assert picture is not None
    finder = FaceFinder(face_detector)
    face = finder.find(picture)
    assert face is not None
    assert face.points == pytest.approx(portrait_face(portrait, pose_at(0)).points, abs=12)
    assert finder.find(np.zeros((256, 256, 3), np.uint8)) is None
