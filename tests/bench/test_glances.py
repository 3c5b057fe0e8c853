"""Gaze alone: eyes that follow wholly, half way and not at all, seen by a finder that sees discs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest

from bench.quality.glances import gaze_alone
from models.landmarks import points as mesh
from shared.keypoints import Floats, Pictures
from tests.drawn_face import face

SIZE = 256
AXIS = (np.arange(SIZE) * 2 + 1) / SIZE - 1


def discs(known: Floats, aside: float = 0.0) -> Pictures:
    """White irises on black, `aside` to the right."""
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    for x, y in known[[mesh.RIGHT_PUPIL, mesh.LEFT_PUPIL]]:
        picture[(AXIS[None] - x - aside) ** 2 + (AXIS[:, None] - y) ** 2 < 0.025**2] = 255
    return picture


class Finder:
    """Sees where the discs are; the rest of the face is where it was drawn."""

    def __init__(self, known: Floats) -> None:
        self.known = known

    def in_place(self, pictures: Sequence[Pictures]) -> Floats:
        found = []
        for picture in pictures:
            light = picture[..., 0].astype(float)
            there = self.known.copy()
            there[[*mesh.RIGHT_IRIS, *mesh.LEFT_IRIS], 0] += (light * AXIS).sum() / light.sum()
            found.append(there)
        return np.stack(found)


class Follower:
    """Draws eyes that go a `share` of the way that the driving ones go."""

    def __init__(self, known: Floats, share: float) -> None:
        self.known, self.share = known, share

    def detect(self, pictures: Pictures) -> Floats:
        light = pictures[..., 0].astype(float)
        return (light * AXIS).sum((1, 2), keepdims=True)[:, 0] / light.sum((1, 2))[:, None]

    def render(self, _: object, keypoints: Floats) -> Pictures:
        return np.stack([discs(self.known, self.share * float(row[0])) for row in keypoints])


@pytest.mark.parametrize("share", [1.0, 0.5, 0.0])
def test_eyes_are_said_to_follow_as_far_as_they_do(share: float) -> None:
    known = face(lids=0.45)
    made = cast(Any, Follower(known, share)), cast(Any, None), discs(known), cast(Any, Finder(known))
    assert gaze_alone(*made) == pytest.approx(share, abs=0.08)


def test_shut_eyes_and_no_face_say_nothing() -> None:
    for known in (face(lids=0.05), np.full((mesh.COUNT, 2), np.nan, np.float32)):
        seen = face(lids=0.45)
        made = cast(Any, Follower(seen, 1.0)), cast(Any, None), discs(seen), cast(Any, Finder(known))
        assert math.isnan(gaze_alone(*made))
