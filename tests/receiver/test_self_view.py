"""Oneself: the newest picture, for the page no more often than it needs, for nobody where it is hidden."""

import io

import numpy as np
from PIL import Image

from receiver.sinks.self_view import SelfView
from shared.runtime.controls import Controls
from tests.receiver.test_page_sink import Crowd, picture


class Clock:
    now = 5.0

    def __call__(self) -> float:
        return self.now


def test_the_newest_is_kept_as_it_is_and_never_mirrored() -> None:
    view, taken = SelfView(Controls()), picture()
    view.update(picture())
    view.update(taken)
    assert view.picture is taken


def test_the_page_gets_a_small_one_ten_times_a_second_at_most() -> None:
    crowd, clock = Crowd(), Clock()
    view = SelfView(Controls(), crowd, clock)
    for n in range(30):
        clock.now = 5.0 + n / 30
        view.update(picture())
    assert len(crowd.seen) == 10
    assert crowd.seen[0][:1] == b"S"
    with Image.open(io.BytesIO(crowd.seen[0][17:])) as image:
        assert image.size == (192, 192)
        small = np.asarray(image, np.float32)
    # Brighter to the right, as it was: the page mirrors it.
    assert small[:, -20:, 1].mean() > small[:, :20, 1].mean() + 150


def test_where_nobody_looks_nothing_is_made() -> None:
    crowd = Crowd(wanted=False)
    view = SelfView(Controls(), crowd)
    view.update(picture())
    assert crowd.seen == []
    assert view.picture is not None


def test_hidden_it_is_neither_kept_nor_given() -> None:
    controls, crowd = Controls(), Crowd()
    view = SelfView(controls, crowd)
    view.update(picture())
    controls.toggle_self_view()
    view.update(picture())
    assert view.picture is None
    assert len(crowd.seen) == 1
