"""A drawn person does what the pose says, and nothing else moves."""

from __future__ import annotations

import numpy as np
import pytest

from shared.keypoints import Pictures
from shared.portrait.looks import Looks, Scene
from shared.portrait.person import Glasses, Hair
from shared.portrait.points import NUMBERS
from shared.portrait.portrait import Portrait, landmarks
from shared.portrait.pose import Pose


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return Portrait()


@pytest.fixture(scope="module")
def bare() -> Pictures:
    return Portrait(Looks(hair=Hair(style="bald"))).draw(Pose())


def changed(a: Pictures, b: Pictures) -> tuple[int, int, int, int]:
    """Return the box (top, bottom, left, right) of what differs."""
    rows, columns = np.nonzero(np.abs(a.astype(int) - b).max(-1) > 14)
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


def brightness(picture: Pictures, x: float, y: float, radius: int = 1) -> float:
    """Return the mean around a place in [-1, 1] of the picture."""
    row, column = round((y + 1) * 128 - 0.5), round((x + 1) * 128 - 0.5)
    return float(picture[row - radius : row + radius + 1, column - radius : column + radius + 1].mean())


@pytest.mark.slow
def test_a_picture_repeats_exactly(portrait: Portrait) -> None:
    pose = Pose(yaw=0.1, mouth=0.4)
    assert (portrait.draw(pose) == Portrait().draw(pose)).all()


@pytest.mark.slow
def test_opening_the_mouth_changes_the_mouth_alone(portrait: Portrait) -> None:
    top, bottom, left, right = changed(portrait.draw(Pose()), portrait.draw(Pose(mouth=1)))
    assert top > 128
    assert bottom < 225
    assert left > 60
    assert right < 196


def test_blinking_changes_the_eyes_alone(portrait: Portrait) -> None:
    top, bottom, left, right = changed(portrait.draw(Pose()), portrait.draw(Pose(blink=1)))
    assert (top > 80, bottom < 140, left > 70, right < 186) == (True,) * 4


def test_turning_moves_the_nose_further_than_the_hair(portrait: Portrait) -> None:
    left, right = (portrait.draw(Pose(yaw=yaw)).astype(float) for yaw in (-0.2, 0.2))

    def shift(rows: slice) -> int:
        a, b = (p[rows].mean((0, 2)) - p[rows].mean() for p in (left, right))
        return int(np.argmax([np.corrcoef(a[30:-30], np.roll(b, -s)[30:-30])[0, 1] for s in range(30)]))

    assert shift(slice(120, 135)) >= shift(slice(15, 25)) + 3


def test_between_open_lips_is_dark(portrait: Portrait) -> None:
    pose = Pose(mouth=0.9, yaw=0.2)
    picture, marks = portrait.draw(pose), portrait.landmarks(pose)
    upper, lower, below = (marks[NUMBERS.index(number)] for number in (13, 14, 17))
    inside, lip = upper * 0.45 + lower * 0.55, (lower + below) / 2
    assert brightness(picture, *inside) < 0.5 * brightness(picture, *lip)


@pytest.mark.parametrize("gaze", [(0.0, 0.0), (-0.9, 0.0), (0.9, 0.3)])
def test_the_pupils_are_where_the_landmarks_say(portrait: Portrait, gaze: tuple[float, float]) -> None:
    pose = Pose(yaw=-0.25, roll=0.1, gaze=gaze)
    picture, marks = portrait.draw(pose), portrait.landmarks(pose)
    for number in (468, 473):
        x, y = (marks[NUMBERS.index(number)] + 1) * 128 - 0.5
        part = picture[round(y) - 4 : round(y) + 5, round(x) - 7 : round(x) + 8].astype(float).mean(-1)
        # Without the lashes above, weighted by darkness.
        dark = np.clip(np.quantile(part[3:], 0.12) - part[3:], 0, None)
        rows, columns = np.mgrid[3:9, 0:15]
        assert (dark * columns).sum() / dark.sum() == pytest.approx(7 + x - round(x), abs=1.2)
        assert (dark * rows).sum() / dark.sum() == pytest.approx(4 + y - round(y), abs=1.5)


def test_landmarks_need_no_portrait(portrait: Portrait) -> None:
    pose = Pose(yaw=0.3, pitch=-0.1, mouth=0.5, blink=0.4, smile=0.3)
    np.testing.assert_array_equal(landmarks(portrait.looks, pose), portrait.landmarks(pose))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(6))
def test_anybody_can_be_drawn(number: int) -> None:
    looks = Looks.random(np.random.default_rng(number))
    assert looks == Looks.random(np.random.default_rng(number))
    person = Portrait(looks)
    pose = Pose(yaw=0.5, pitch=0.1, mouth=0.5)
    picture, marks = person.draw(pose), person.landmarks(pose)
    assert picture.shape == (256, 256, 3)
    assert picture.std() > 10
    assert np.isfinite(marks).all()
    assert (np.abs(marks) < 1).mean() > 0.95


def test_no_two_people_look_alike() -> None:
    rng = np.random.default_rng(0)
    people = [Looks.random(rng) for _ in range(50)]
    assert len({repr(person) for person in people}) == 50
    assert {person.hair.style for person in people} >= {"bald", "buzz", "short", "long", "curly"}
    tones = [person.skin.tone for person in people]
    assert min(tones) < 0.1
    assert max(tones) > 0.9


@pytest.mark.slow
def test_glasses_are_drawn_around_the_eyes(portrait: Portrait) -> None:
    seeing = Portrait(Looks(glasses=Glasses(worn=True)))
    top, bottom, left, right = changed(portrait.draw(Pose()), seeing.draw(Pose()))
    assert (top > 70, bottom < 150, left > 50, right < 206) == (True,) * 4


@pytest.mark.slow
@pytest.mark.parametrize("style", ["buzz", "short", "long", "tied", "curly", "hat"])
def test_hair_of_every_style_leaves_the_face_free(style: str, bare: Pictures) -> None:
    person = Portrait(Looks(hair=Hair(style=style, parted=False)))
    picture, marks = person.draw(Pose()), person.landmarks(Pose())
    for number in (468, 473, 1, 13, 199, 50, 280):
        x, y = marks[NUMBERS.index(number)]
        assert brightness(picture, x, y) == pytest.approx(brightness(bare, x, y), abs=6)


@pytest.mark.slow
@pytest.mark.parametrize("style", ["short", "long", "curly"])
def test_nothing_is_seen_through_a_head(style: str) -> None:
    hair = Hair(style=style, curl=0.9 if style == "curly" else 0.3, top=0.12, lift=1.0, seed=5)
    green = Scene(kind="plain", colour=(0.0, 0.9, 0.0), second=(0.0, 0.9, 0.0))
    person, pose = Portrait(Looks(hair=hair, scene=green)), Pose(yaw=0.3, pitch=-0.1)
    marks = (person.landmarks(pose) + 1) * 128
    (left, _), (right, _), (_, top), (_, chin) = (marks[NUMBERS.index(n)] for n in (234, 454, 10, 152))
    y, x = np.mgrid[0:256, 0:256]
    across, down = (x - (left + right) / 2) / (right - left), (y - (top + chin) / 2) / (chin - top)
    inside = np.hypot(across / 0.40, (down + 0.1) / 0.60) < 1
    red, green_, blue = np.moveaxis(person.draw(pose).astype(int), -1, 0)
    assert inside.sum() > 5000
    assert not (inside & (green_ > np.maximum(red, blue) + 40)).any()
