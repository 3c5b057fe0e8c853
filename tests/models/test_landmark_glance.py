"""Irises move between lids that stay, by what was asked, in the picture and in its landmarks alike."""

import cv2
import numpy as np
import pytest
import torch

from models.landmarks import points as mesh
from models.landmarks.glance import glanced
from models.lite.geometry import pixel_grid
from shared.keypoints import Floats, Pictures
from tests.drawn_face import face

SIZE = 512


def looking(known: Floats, aside: float) -> tuple[Floats, Floats]:
    """Return where each pixel of the changed picture came from (SIZE, SIZE, 2), and its landmarks."""
    faces = torch.from_numpy(known[None])
    places = pixel_grid(SIZE, SIZE, faces).reshape(1, -1, 2)
    origins, seen = glanced(faces, torch.tensor([aside]), places)
    return origins.reshape(SIZE, SIZE, 2).numpy(), seen[0].numpy()


def changed(picture: Pictures, origins: Floats) -> Pictures:
    x, y = np.moveaxis((origins + 1) * (SIZE / 2) - 0.5, -1, 0)
    return np.asarray(cv2.remap(picture, x, y, cv2.INTER_LINEAR))


def irises(known: Floats) -> Pictures:
    """Small white discs on black, where the irises are."""
    picture = np.zeros((SIZE, SIZE), np.uint8)
    for pupil in known[[mesh.RIGHT_PUPIL, mesh.LEFT_PUPIL]]:
        x, y = ((pupil + 1) * (SIZE / 2)).round().astype(int)
        cv2.circle(picture, (x, y), 5, 255, -1)
    return picture


@pytest.mark.parametrize("turn", [0.0, 0.4])
@pytest.mark.parametrize("aside", [-0.15, 0.0, 0.1, 0.2])
def test_irises_go_where_their_landmarks_go(aside: float, turn: float) -> None:
    known = face(lids=0.5)
    turned = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    known = (known @ turned).astype(np.float32)
    origins, seen = looking(known, aside)
    np.testing.assert_allclose(mesh.openings(seen) - mesh.openings(known), (0, 0, aside), atol=1e-4)
    rest = np.setdiff1d(np.arange(mesh.COUNT), [*mesh.RIGHT_IRIS, *mesh.LEFT_IRIS])
    np.testing.assert_array_equal(seen[rest], known[rest])
    there = irises(seen).astype(float)
    found = changed(irises(known), origins).astype(float)
    # The discs go as a whole: hardly a pixel of the two pictures differs.
    assert np.abs(found - there).sum() < 0.2 * there.sum()


def test_nothing_moves_but_what_lies_between_the_lids() -> None:
    known = face(lids=0.4)
    origins, _ = looking(known, 0.2)
    places = pixel_grid(SIZE, SIZE, torch.zeros(1)).numpy()
    off = np.abs(origins - places).max(-1)
    assert off.max() > 0.02
    for side in (-1, 1):
        x, y = (places[..., 0] - 0.2 * side) / 0.1, (places[..., 1] + 0.2) / (0.1 * 0.4 * 1.25)
        off[x**2 + y**2 < 1] = 0
    assert off.max() < 1e-6


def test_irises_keep_out_of_corners() -> None:
    _, seen = looking(face(lids=0.4, gaze=0.45), 3.0)
    # The drawn iris has a radius of 0.15 eye widths.
    assert mesh.openings(seen)[2] == pytest.approx(1 - 0.15 - 0.06, abs=1e-3)


@pytest.mark.parametrize("known", [face(lids=0.05), face(lids=0.4, gaze=0.1)], ids=["shut", "in a corner"])
def test_eyes_that_cannot_look_elsewhere_stay(known: Floats) -> None:
    origins, seen = looking(known, 0.2)
    np.testing.assert_array_equal(seen, known)
    np.testing.assert_allclose(origins, pixel_grid(SIZE, SIZE, torch.zeros(1)).numpy(), atol=1e-6)


def test_unknown_faces_stay_unknown_beside_known_ones() -> None:
    faces = torch.from_numpy(np.stack([np.full((mesh.COUNT, 2), np.nan, np.float32), face(lids=0.4)]))
    places = pixel_grid(8, 8, faces).reshape(1, -1, 2).expand(2, -1, 2)
    origins, seen = glanced(faces, torch.tensor([0.2, 0.2]), places)
    assert torch.isnan(seen[0]).all()
    torch.testing.assert_close(origins[0], places[0])
    assert torch.isfinite(origins).all()
    assert not torch.equal(seen[1], faces[1])
