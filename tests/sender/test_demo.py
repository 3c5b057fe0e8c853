"""The drawn portrait repeats exactly, moves all the time, and ends when it should."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from sender import demo
from sender.demo import ROUND_S, DemoSource, pose_at
from shared.constants import FPS
from shared.media.squares import scaled
from shared.portrait.points import NUMBERS
from shared.portrait.portrait import Portrait


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return Portrait()


@pytest.fixture
def short() -> Iterator[DemoSource]:
    source = DemoSource(seconds=0.1)
    yield source
    source.close()


@pytest.mark.slow
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
    np.testing.assert_array_equal(short.frame(1), portrait.draw(pose_at(1 / 30)))


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


def test_it_speaks_blinks_and_looks_aside(portrait: Portrait) -> None:
    def at(number: int) -> npt.NDArray[np.float32]:
        return marks[:, NUMBERS.index(number)]

    marks = np.stack([portrait.landmarks(pose_at(n / FPS)) for n in range(round(ROUND_S * FPS))])
    eyes = np.linalg.norm(at(263) - at(33), axis=1)
    lips = np.linalg.norm(at(13) - at(14), axis=1) / eyes
    lids = (at(145) - at(159))[:, 1] / eyes
    assert np.ptp(lips) > 0.2
    assert lips.min() < 0.02
    shut = lids < 0.02
    assert 8 <= shut.sum() < 40
    assert np.median(lids) > 0.08
    corners = np.linalg.norm(at(133) - at(33), axis=1)
    gaze = ((at(468) - at(33))[:, 0] / corners)[~shut]
    assert gaze.min() < 0.35
    assert gaze.max() > 0.65


@pytest.mark.slow
def test_a_larger_one_is_the_same_person_at_the_same_moments() -> None:
    source = DemoSource(seconds=0.1, side=384)
    try:
        larger, held = source.frame(0), source.frame(1)
    finally:
        source.close()
    assert larger is not None
    assert larger.shape == (384, 384, 3)
    usual = Portrait().draw(pose_at(0.0)).astype(int)
    assert np.abs(scaled(larger, 256) - usual).mean() < 2
    # There are half as many, for they take three times as long.
    assert larger is held


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that holds a round of eight pictures."""
    monkeypatch.setattr(demo, "_ROUND", 8)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = DemoSource(None)
    source.wait()
    source.close()
    return tmp_path / "keycast"


def frames(source: DemoSource, count: int = 8) -> list[npt.NDArray[np.uint8]]:
    try:
        found = [source.frame(n) for n in range(count)]
    finally:
        source.close()
    return [frame for frame in found if frame is not None]


@pytest.mark.usefixtures("cached")
@pytest.mark.slow
def test_a_round_is_drawn_once_and_then_read(portrait: Portrait, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [portrait.draw(pose_at(n / FPS)) for n in range(8)]
    monkeypatch.delattr(Portrait, "draw")
    np.testing.assert_array_equal(frames(DemoSource(None)), expected)
    # It begins again, and is long enough for a call that ends within it.
    np.testing.assert_array_equal(frames(DemoSource(None), 11)[8:], expected[:3])
    np.testing.assert_array_equal(frames(DemoSource(0.1)), expected[:3])


@pytest.mark.slow
def test_pictures_of_another_version_make_room(cached: Path) -> None:
    (file,) = cached.iterdir()
    stale = cached / "demo-256-0123456789abcdef.rgb"
    file.rename(stale)
    (cached / "demo2-256-0123456789abcdef.rgb").touch()
    source = DemoSource(None)
    source.wait()
    source.close()
    assert {path.name for path in cached.iterdir()} == {file.name, "demo2-256-0123456789abcdef.rgb"}


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["shorter", "shorter while it is open", "no folder"])
def test_without_its_file_a_round_is_drawn_again(
    damage: str, cached: Path, portrait: Portrait, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = cached.iterdir()
    expected = [portrait.draw(pose_at(n / FPS)) for n in range(8)]
    if damage == "no folder":
        monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    if damage == "shorter":
        file.write_bytes(file.read_bytes()[:-1])
    source = DemoSource(None)
    if damage == "shorter while it is open":
        with file.open("r+b") as open_file:
            open_file.truncate(3 * 256 * 256)
    source.wait()
    np.testing.assert_array_equal(frames(source), expected)
