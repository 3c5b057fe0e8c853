"""The pace at which frames are shown, whenever they are ready."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.presentation import MAX_PROCESSING_SECONDS, PresentationTimes, Processing

MAX_OFFSET = 0.027


def test_it_settles_where_nine_of_ten_frames_are_ready() -> None:
    presentation, chance = PresentationTimes(MAX_OFFSET), random.Random(1)
    for number in range(600):
        is_here = number % 12 < 6
        presentation.ready(-0.03 if is_here else 0.011 + chance.uniform(0, 0.004))
    assert presentation.offset == pytest.approx(0.0145, abs=0.001)


def test_where_all_frames_are_early_they_are_shown_when_they_are_due() -> None:
    presentation = PresentationTimes(MAX_OFFSET)
    for _ in range(100):
        presentation.ready(-0.02)
    assert presentation.offset == 0


@given(st.lists(st.floats(-1, 10), max_size=200))
def test_it_changes_by_half_a_millisecond_at_most_and_keeps_its_bounds(late: list[float]) -> None:
    presentation = PresentationTimes(MAX_OFFSET)
    offsets = [presentation.offset]
    for seconds in late:
        presentation.ready(seconds)
        offsets.append(presentation.offset)
    assert all(0 <= offset <= MAX_OFFSET for offset in offsets)
    assert all(abs(after - before) <= 0.0005 + 1e-12 for before, after in pairwise(offsets))


def test_what_frames_usually_take_is_known_and_a_single_long_one_changes_nothing() -> None:
    processing = Processing()
    assert processing.seconds == 0
    for number in range(600):
        processing.took(0.2 if number % 12 == 0 else 0.03 + 0.001 * (number % 10))
    assert processing.seconds == pytest.approx(0.034, abs=0.001)
    for _ in range(60):
        processing.took(0.01)
    assert processing.seconds == 0.01
    for _ in range(60):
        processing.took(3.0)
    assert processing.seconds == MAX_PROCESSING_SECONDS
