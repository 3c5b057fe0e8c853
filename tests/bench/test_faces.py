"""Faces are found where they are, and their boxes stay inside of the picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from bench.harness.faces import FACE_SIZE, Face, FaceFinder, face_from
from sender.demo import DemoSource, pose_at
from shared.errors import RequestError
from shared.portrait.points import NUMBERS
from shared.portrait.portrait import Portrait
from shared.portrait.pose import Pose


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return Portrait()


def portrait_face(portrait: Portrait, pose: Pose) -> Face:
    """Where the portrait's face is, with the mouth's corners where they are when it is shut."""
    marks = portrait.landmarks(replace(pose, mouth=0.0, smile=0.0, gaze=(0.0, 0.0)))
    points = marks[[NUMBERS.index(number) for number in (468, 473, 1, 61, 291)]]
    return Face(60, 40, 200, 220, (points.astype(float) + 1) * 128)


ROW = np.array([100, 50, 60, 80, 110, 80, 150, 80, 130, 95, 115, 115, 145, 115, 0.9], np.float32)


def test_a_box_is_padded_by_a_tenth() -> None:
    face = face_from(ROW, 256, 256)
    assert face is not None
    assert (face.left, face.top, face.right, face.bottom) == (94, 42, 166, 138)
    assert face.cut(np.zeros((256, 256, 3), np.uint8)).shape == (FACE_SIZE, FACE_SIZE, 3)
    assert face.eye_line.tolist() == [40, 0]


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


@pytest.mark.slow
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
