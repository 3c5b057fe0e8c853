"""Placement of the square: made-up looks at made-up times."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from sender.framing import LOOK_S, LOST_S, SPEED, STEADY_S, Framer
from shared.media.heads import Head
from shared.media.squares import FACE_SIZE, FACE_X, FACE_Y, SAFE_OFFSET, Square, is_well_placed

WIDTH, HEIGHT = 1280, 720
SIZE = 160.0
SIDE = round(SIZE / FACE_SIZE)


class Filming:
    """Looks at what stands before the camera as a sender does; notes the square 30 times a second."""

    def __init__(self, *first: Head, width: int = WIDTH, height: int = HEIGHT) -> None:
        self.framer = Framer(width, height)
        self.found = self.framer.begin([list(first)] * 5)
        self.width, self.height = width, height
        self.now = 0.0
        self.squares = [self.framer.square(0.0)]

    def film(self, seconds: float, *heads: Head) -> Square:
        for _ in range(round(seconds / LOOK_S)):
            self.framer.look(heads, self.now)
            for _ in range(10):
                self.now += LOOK_S / 10
                self.squares.append(self.framer.square(self.now))
        return self.squares[-1]

    @property
    def moved(self) -> bool:
        return len(set(self.squares)) > 1

    def check_all_within(self) -> None:
        for square in self.squares:
            assert square.x >= 0
            assert square.y >= 0
            assert square.x + square.size <= self.width + 1e-6
            assert square.y + square.size <= self.height + 1e-6


def head(x: float = 400, y: float = 300, size: float = SIZE) -> Head:
    return Head(x, y, size)


def test_a_doubtful_head_is_not_chosen_but_followed() -> None:
    doubtful = Head(400, 300, SIZE, 0.45)
    assert not Filming(doubtful).found
    filming = Filming()
    filming.film(8.0, doubtful)
    assert not filming.moved
    filming.film(1.0, head())
    assert is_well_placed(doubtful, filming.film(8.0, doubtful))


def test_begins_around_the_head_as_training_clips_show_it() -> None:
    filming = Filming(head())
    assert filming.found
    assert filming.squares == [Square(round(400 - FACE_X * SIDE), round(300 - FACE_Y * SIDE), SIDE)]
    x, y, size = filming.squares[0].place(head())
    assert (x, y, size) == pytest.approx((FACE_X, FACE_Y, FACE_SIZE), abs=0.01)


def test_a_head_that_is_well_placed_in_the_centre_leaves_the_centre_square() -> None:
    square = Square(280, 0, 720)
    close = Head(280 + 0.55 * 720, 0.45 * 720, 0.5 * 720)
    assert is_well_placed(close, square)
    assert Filming(close).squares == [square]


def test_without_a_head_the_centre_square_stays() -> None:
    filming = Filming()
    assert not filming.found
    assert filming.film(5.0) == Square(280, 0, 720)
    assert not filming.moved


def test_a_head_in_few_of_the_first_pictures_is_none() -> None:
    framer = Framer(WIDTH, HEIGHT)
    assert not framer.begin([[head()], [], [], [], []])
    assert framer.square(0.0) == Square(280, 0, 720)


def test_a_head_that_comes_later_is_framed_smoothly() -> None:
    filming = Filming()
    filming.film(3.0)
    square = filming.film(8.0, head())
    assert is_well_placed(head(), square)
    filming.check_all_within()


def test_jitter_and_small_movements_move_nothing() -> None:
    filming = Filming(head())
    random = np.random.default_rng(1)
    for i in range(90):
        sway = 0.08 * SIDE * math.sin(i / 7)
        x, y = random.normal(0, 6, 2)
        filming.film(LOOK_S, head(400 + sway + x, 300 + y, SIZE * float(np.exp(random.normal(0, 0.06)))))
    assert not filming.moved


def test_a_short_lean_moves_nothing() -> None:
    filming = Filming(head())
    for _ in range(5):
        filming.film(1.0, head(400 + 0.3 * SIDE))
        filming.film(2.0, head())
    assert not filming.moved


def test_a_head_that_stays_out_of_place_is_followed_once() -> None:
    filming = Filming(head())
    before = filming.film(2.0, head())
    away = head(400 + 1.5 * SAFE_OFFSET * SIDE)
    start = len(filming.squares)
    after = filming.film(6.0, away)
    assert is_well_placed(away, after)
    assert after.size == before.size
    moving = [i for i, (a, b) in enumerate(itertools.pairwise(filming.squares)) if a != b]
    assert (moving[0] - start) / 30 >= STEADY_S - LOOK_S
    assert moving == list(range(moving[0], moving[-1] + 1))
    filming.film(20.0, away)
    assert filming.squares[-1] == after == Square(*map(round, (after.x, after.y, after.size)))


def test_moves_gently() -> None:
    filming = Filming(head())
    filming.film(10.0, head(490, 350))
    steps = [math.dist((a.x, a.y), (b.x, b.y)) / SIDE * 30 for a, b in itertools.pairwise(filming.squares)]
    assert max(steps) <= 1.01 * SPEED
    jumps = [abs(b - a) for a, b in itertools.pairwise(steps)]
    assert max(jumps) < 0.1 * SPEED


def test_who_comes_much_closer_gets_a_larger_square() -> None:
    filming = Filming(head())
    near = head(430, 340, 1.7 * SIZE)
    # So sudden a change is another head, until the first has been gone for a while.
    after = filming.film(10.0, near)
    assert is_well_placed(near, after)
    assert after.size == round(1.7 * SIZE / FACE_SIZE)
    filming.check_all_within()


def test_the_head_followed_is_held_though_a_larger_one_comes() -> None:
    filming = Filming(head())
    filming.film(2.0, head())
    for order in (1, -1):
        filming.film(10.0, *[head(), Head(900, 350, 260)][::order])
    assert not filming.moved


def test_follows_the_head_it_held_past_another() -> None:
    filming = Filming(head())
    other = head(900, 300)
    for x in range(400, 701, 20):
        filming.film(LOOK_S, other, head(x))
    assert is_well_placed(head(700), filming.film(6.0, other, head(700)))


def test_a_head_that_leaves_and_returns_moves_nothing() -> None:
    filming = Filming(head())
    filming.film(3.0, head())
    filming.film(30.0)
    filming.film(10.0, head(405, 305))
    assert not filming.moved


def test_when_the_head_has_left_for_good_another_is_followed() -> None:
    filming = Filming(head())
    other = Head(900, 350, 200)
    filming.film(3.0, head())
    filming.film(LOST_S - 1, other)
    assert not filming.moved
    assert is_well_placed(other, filming.film(10.0, other))


def test_a_square_at_the_border_does_not_move_for_ever() -> None:
    corner = head(30, 20)
    filming = Filming(corner)
    assert filming.squares[0] == Square(0, 0, SIDE)
    filming.film(30.0, corner)
    assert not filming.moved


@pytest.mark.parametrize(
    ("width", "height"), [(1280, 720), (720, 1280), (641, 479), (333, 257), (256, 455), (200, 160), (100, 90)]
)
def test_never_leaves_a_picture_of_any_size(width: int, height: int) -> None:
    random = np.random.default_rng(width)
    filming = Filming(width=width, height=height)
    for _ in range(12):
        size = float(np.exp(random.uniform(np.log(8), np.log(1.2 * width))))
        place = random.uniform(-0.1, 1.1, 2) * (width, height)
        filming.film(5.0, Head(float(place[0]), float(place[1]), size))
    assert filming.moved
    filming.check_all_within()


def test_small_squares_are_sent_as_they_are() -> None:
    assert not Framer(256, 256).has_choice
    assert not Framer(90, 90).has_choice
    assert Framer(512, 512).has_choice
    assert Framer(256, 455).has_choice


def test_a_tall_small_video_is_framed_up_and_down() -> None:
    filming = Filming(Head(128, 120, 110), width=256, height=455)
    assert filming.squares[0].size == 256
    assert filming.squares[0].y == 0


@pytest.mark.parametrize(
    "values", [(math.nan, 0, 1, 1), (0, 0, 0, 1), (0, 0, math.inf, 1), (0, math.inf, 1, 1)]
)
def test_a_head_that_is_nowhere_is_refused(values: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="no place"):
        Head(*values)
