import numpy as np
import pytest

from models.lite.layout import DIMENSIONS, LAYOUT
from receiver.gallery import DWELL_FRAMES, Choice, Gallery
from shared.keypoints import Floats


def at(position: float) -> Floats:
    return np.full(DIMENSIONS, position, np.float32)


def gallery(*positions: float) -> Gallery:
    made = Gallery(LAYOUT.distance)
    for slot, position in enumerate(positions):
        made.put(slot, at(position))
    return made


def slots(made: Gallery, *positions: float) -> list[int]:
    return [made.choose(at(position)).slot for position in positions]


def test_nothing_is_chosen_from_nothing() -> None:
    with pytest.raises(ValueError, match="no picture"):
        Gallery(LAYOUT.distance).choose(at(0))


def test_the_first_frame_takes_the_nearest_at_once() -> None:
    assert gallery(0, 1, 2).choose(at(1.1)) == Choice(1)


def test_a_frame_between_two_pictures_flickers_not() -> None:
    noise = 0.5 + 0.015 * np.random.default_rng(0).standard_normal(300)
    made = gallery(0, 1)
    assert len(set(slots(made, *noise))) == 1
    assert made.switches == 0


def test_a_picture_stays_for_a_while() -> None:
    made = gallery(0, 1)
    chosen = slots(made, *([0.0] * 5 + [1.0] * 6) * 40)
    changes = np.flatnonzero(np.diff(chosen))
    assert len(changes) > 2
    assert np.diff(changes).min() >= DWELL_FRAMES


def test_a_turn_is_followed_by_a_short_fade() -> None:
    made = gallery(0, 1)
    slots(made, *[0.0] * 10)
    choices = [made.choose(at(0.9)) for _ in range(5)]
    assert choices == [Choice(1, 0, 0.25), Choice(1, 0, 0.5), Choice(1, 0, 0.75), Choice(1), Choice(1)]


def test_a_replaced_picture_is_not_faded_out() -> None:
    made = gallery(0, 1)
    slots(made, *[0.0] * 10)
    assert made.choose(at(1)).before == 0
    made.put(0, at(5))
    assert made.choose(at(1)) == Choice(1)
    assert slots(made, *[5.0] * 10)[-1] == 0


def test_nothing_of_another_scene_is_chosen_again() -> None:
    made = gallery(0, 5)
    assert slots(made, *[5.0] * 20)[-1] == 1
    made.clear()
    made.put(0, at(9))
    assert slots(made, *[5.0] * 20) == [0] * 20


def test_what_is_nearest_is_what_the_metric_says() -> None:
    made = Gallery(metric=lambda members, frame: 1e4 - np.abs(members - frame).sum(1))
    made.put(0, at(0))
    made.put(1, at(9))
    assert made.choose(at(1)).slot == 1


@pytest.mark.parametrize("position", [1e3, -1e3, 3e38])
def test_keypoints_of_a_hostile_peer_choose_something(position: float) -> None:
    made = gallery(0, 1)
    for _ in range(20):
        assert made.choose(at(position)).slot in {0, 1}
