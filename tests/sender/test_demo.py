"""The drawn portrait repeats exactly, moves all the time, and ends when it should."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from sender.demo import ROUND_S, DemoSource, pose_at
from sender.portrait import Portrait, Pose
from shared.keypoints import Pictures


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return Portrait()


@pytest.fixture
def short() -> Iterator[DemoSource]:
    source = DemoSource(seconds=0.1)
    yield source
    source.close()


def changed(a: Pictures, b: Pictures) -> tuple[int, int, int, int]:
    """Return the box (top, bottom, left, right) of what differs."""
    rows, columns = np.nonzero(np.abs(a.astype(int) - b).max(-1) > 8)
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


def test_ends_after_its_seconds(short: DemoSource) -> None:
    first = short.frame(0)
    assert first is not None
    assert first.shape == (256, 256, 3)
    assert first.dtype == np.uint8
    assert short.frame(2) is not None
    assert short.frame(3) is None


def test_closed_source_has_no_frames(short: DemoSource) -> None:
    short.close()
    short.close()
    assert short.frame(0) is None


def test_is_the_same_every_time(short: DemoSource, portrait: Portrait) -> None:
    assert (short.frame(1) == portrait.draw(pose_at(1 / 30))).all()


def test_the_motion_has_no_seam() -> None:
    assert pose_at(ROUND_S) == pose_at(0)
    before, after = pose_at(ROUND_S - 1e-6), pose_at(0)
    assert abs(before.yaw - after.yaw) < 1e-4
    assert abs(before.mouth - after.mouth) < 1e-4


def test_it_is_a_lively_picture(portrait: Portrait) -> None:
    pictures = [portrait.draw(pose_at(t)) for t in (0.0, 0.6, 1.05, 2.1)]
    assert pictures[0].std() > 30
    for a, b in pairwise(pictures):
        assert np.abs(a.astype(int) - b).mean() > 2


def test_opening_the_mouth_changes_the_mouth_alone(portrait: Portrait) -> None:
    top, bottom, left, right = changed(portrait.draw(Pose()), portrait.draw(Pose(mouth=1)))
    assert top > 128
    assert bottom < 215
    assert left > 60
    assert right < 196


def test_blinking_changes_the_eyes_alone(portrait: Portrait) -> None:
    top, bottom, left, right = changed(portrait.draw(Pose()), portrait.draw(Pose(blink=1)))
    assert (top > 80, bottom < 125, left > 80, right < 175) == (True,) * 4


def test_turning_moves_the_nose_further_than_the_hair(portrait: Portrait) -> None:
    left, right = (portrait.draw(Pose(yaw=yaw)).astype(float) for yaw in (-0.2, 0.2))

    def shift(rows: slice) -> int:
        a, b = (p[rows].mean((0, 2)) - p[rows].mean() for p in (left, right))
        return int(np.argmax([np.corrcoef(a[30:-30], np.roll(b, -s)[30:-30])[0, 1] for s in range(30)]))

    assert shift(slice(120, 135)) >= shift(slice(15, 25)) + 3
