"""MediaPipe's face mesh and iris networks, two .tflite files that OpenVINO runs as they are.

Crops and indices follow MediaPipe's graphs (face_landmark, iris_landmark; Apache 2.0), but for what measures
better against its attention mesh on real clips: slightly tighter faces, wider eyes, and the mean of a face
and its mirror image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.landmarks.crops import Box, Cut, Doubles, cut
from models.landmarks.points import COUNT, LEFT_IRIS, MIRROR, NUMBERS, RIGHT_IRIS, rows
from models.openvino.runtime import InferRequest, compiled, openvino
from shared.errors import RequestError
from shared.keypoints import Floats, Pictures

FACE_FILE, IRIS_FILE = "face_landmark.tflite", "iris_landmark.tflite"
_FACE, _EYE = 192, 64
_MESH = 468
_FACE_SCALE, _EYE_SCALE = 1.45, 2.8
# Mesh numbers of the outer corners of the eyes, right and left: they tell which way is up.
_OUTER_CORNERS = [33, 263]
# The lids among the iris network's 71 points of the eye's surroundings: lower, then upper without corners.
_RIGHT_LIDS = rows(33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173)
_LEFT_LIDS = rows(263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398)
# Of a mirrored eye, what the network calls right is left.
_MIRRORED_IRIS = [0, 3, 2, 1, 4]
# The kept points of the mesh itself, and what the mirrored mesh says in their place.
_KEPT = np.array(NUMBERS)[np.array(NUMBERS) < _MESH]
_MIRRORED = np.array(NUMBERS)[MIRROR[: len(_KEPT)]]


@dataclass(frozen=True, eq=False)
class Mesh:
    """The 468 points (x, y, depth in pixels of the picture) in a box, and how sure the network is, 0 to 1."""

    points: Doubles
    seen: Box
    score: float

    @property
    def box(self) -> Box:
        """Where to look for the face more closely, or in the next frame."""
        flat = self.points[:, :2]
        return Box.around(flat, flat[_OUTER_CORNERS], _FACE_SCALE)


class MeshNetworks:
    """The two networks in the folder `models`. RequestError where they are missing or others.

    They run on one CPU thread, in float32. Not thread-safe.
    """

    def __init__(self, models: Path) -> None:
        self._face = _loaded(models / FACE_FILE, _FACE, (3 * _MESH, 1))
        self._iris = _loaded(models / IRIS_FILE, _EYE, (3 * 71, 3 * 5))

    def mesh(self, picture: Pictures, box: Box, *, mirrored: bool = False) -> Mesh:
        """Return the mesh of the face that `box` shows; `mirrored` looks at its mirror image."""
        seen = cut(picture, box, _FACE, mirrored=mirrored)
        points, score = _run(self._face, seen)
        return Mesh(seen.back(points), box, 1 / (1 + math.exp(-min(max(float(score[0, 0]), -50.0), 50.0))))

    def landmarks(self, picture: Pictures, mesh: Mesh) -> Doubles:
        """Return the kept landmarks (175, 3) of the face that has this `mesh`, in pixels of the picture."""
        other = self.mesh(picture, mesh.seen, mirrored=True)
        found = np.empty((COUNT, 3))
        found[: len(_KEPT)] = (mesh.points[_KEPT] + other.points[_MIRRORED]) / 2
        for lids, iris, mirrored in ((_RIGHT_LIDS, RIGHT_IRIS, False), (_LEFT_LIDS, LEFT_IRIS, True)):
            # Outer and inner corner; the network knows right eyes alone.
            corners = found[lids[[0, 8]], :2]
            box = Box.around(corners, corners[::-1] if mirrored else corners, _EYE_SCALE)
            seen = cut(picture, box, _EYE, mirrored=mirrored)
            surroundings, ring = (seen.back(points) for points in _run(self._iris, seen))
            found[lids, :2] = surroundings[: len(lids), :2]
            found[iris] = ring[_MIRRORED_IRIS] if mirrored else ring
        return found


def _run(network: InferRequest, seen: Cut) -> tuple[Floats, Floats]:
    """Return what the network says of a crop: its two outputs, the larger first, as (N, 3) where they can."""
    network.infer([seen.pixels])
    outputs = [np.array(network.get_output_tensor(index).data).ravel() for index in (0, 1)]
    large, small = sorted(outputs, key=len, reverse=True)
    return large.reshape(-1, 3), small.reshape(-1, 3 if len(small) % 3 == 0 else 1)


def _loaded(file: Path, size: int, outputs: tuple[int, int]) -> InferRequest:
    if not file.is_file():
        raise RequestError(
            f"There is no {file}; give the folder that holds MediaPipe's {FACE_FILE} and {IRIS_FILE}."
        )
    wrong = f"{file} is not the network that MediaPipe calls {file.name}; give the folder that holds it."
    try:
        model = openvino().Core().read_model(str(file))
        entries = [tuple(entry.shape) for entry in model.inputs]
        results = sorted((math.prod(result.shape) for result in model.outputs), reverse=True)
    except RuntimeError as error:
        raise RequestError(wrong) from error
    if entries != [(1, size, size, 3)] or results != list(outputs):
        raise RequestError(wrong)
    return compiled(model, "float32", count=1)
