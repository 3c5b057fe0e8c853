import numpy as np
import pytest

from models.lite.layout import DIMENSIONS, LAYOUT
from sender.gallery import Budget, GalleryOptions, GalleryPolicy, Moments
from shared.constants import FPS
from shared.errors import RequestError
from shared.keypoints import Floats, Pictures
from shared.protocol.picture_transfer import wire_bytes

RANDOM = np.random.default_rng(0)
FIRST_BYTES = 7000
FURTHER_BYTES = 3500


def at(position: float) -> Floats:
    return (position + 1e-4 * RANDOM.standard_normal(DIMENSIONS)).astype(np.float32)


class Watched:
    """A policy on a path of positions, one a frame; every proposal is taken at once."""

    def __init__(self, size: int = 4, kbps: float = 1000.0, further: float | None = None) -> None:
        self.policy = GalleryPolicy(GalleryOptions(size, kbps, further), FIRST_BYTES, LAYOUT.distance)
        self.spent = wire_bytes(FIRST_BYTES)
        self.number = 0
        self.proposed: list[tuple[int, int]] = []

    def follow(self, *positions: float) -> list[tuple[int, int]]:
        """Return (frame, slot) of what was proposed on the way."""
        before = len(self.proposed)
        for position in positions:
            keypoints = at(position)
            self.policy.observe(self.number, keypoints)
            slot = self.policy.propose(self.spent, self.number / FPS)
            if slot is not None and self.policy.affords(FURTHER_BYTES, self.spent, self.number / FPS):
                self.proposed.append((self.number, slot))
                self.policy.added(slot, keypoints)
                self.spent += wire_bytes(FURTHER_BYTES)
            self.number += 1
        return self.proposed[before:]


def test_a_still_face_needs_one_picture() -> None:
    assert Watched().follow(*[0.0] * 900) == []


def test_another_scene_gets_a_picture_of_its_own_soon() -> None:
    watched = Watched()
    watched.follow(*[0.0] * 200)
    assert not watched.policy.alone
    watched.policy.renew()
    assert watched.policy.alone
    ((number, slot),) = watched.follow(*[3.0] * 600)
    assert number - 200 <= 5
    assert slot == 0
    assert not watched.policy.alone


def test_a_new_scene_has_a_picture_where_an_old_one_may_not_have_another() -> None:
    first = wire_bytes(FIRST_BYTES) * 8 / 60_000
    turning = [0.0] * 100 + [3.0] * 300
    assert Watched(kbps=1000.0).follow(*turning) != []
    watched = Watched(kbps=1000.0, further=first + 0.1)
    assert watched.follow(*turning) == []
    watched.policy.renew()
    ((_, slot),) = watched.follow(*[6.0] * 300)
    assert slot == 0
    # And it does not pass what is there for all of them.
    watched = Watched(kbps=first + 0.1, further=first + 0.1)
    watched.policy.renew()
    assert watched.follow(*[6.0] * 300) == []


def test_cuts_without_end_do_not_pass_the_budget() -> None:
    watched = Watched(kbps=2.0)
    for n in range(200):
        watched.policy.renew()
        watched.follow(*[float(n % 2)] * 9)
    assert watched.spent <= 2.0 * 1000 / 8 * 60 + wire_bytes(FIRST_BYTES) + wire_bytes(FURTHER_BYTES)


def test_a_pose_that_is_held_gets_a_picture_once() -> None:
    watched = Watched()
    watched.follow(*[0.0] * 60)
    assert [slot for _, slot in watched.follow(*[0.5] * 600)] == [1]


def test_a_passing_glance_gets_none() -> None:
    watched = Watched()
    watched.follow(*[0.0] * 300)
    assert watched.follow(*[0.3] * 3, *[0.0] * 300) == []


def test_no_picture_is_taken_in_the_middle_of_a_turn() -> None:
    watched = Watched()
    watched.follow(*[0.0] * 60)
    turn = np.linspace(0, 1, 30)
    assert watched.follow(*turn) == []
    assert len(watched.follow(*[1.0] * 60)) == 1


def test_a_gallery_of_one_stays_that() -> None:
    watched = Watched(size=1)
    assert watched.follow(*([0.0] * 60 + [1.0] * 60) * 5) == []


def test_a_full_gallery_gives_up_what_is_missed_least() -> None:
    watched = Watched(size=2)
    watched.follow(*[0.0] * 60)
    assert [slot for _, slot in watched.follow(*[1.0] * 300)] == [1]
    # Nobody has seen 0 for ten seconds; 1 is still in the recent past.
    assert [slot for _, slot in watched.follow(*[2.0] * 60)] == [0]


def test_slots_are_filled_in_order() -> None:
    watched = Watched(size=8)
    for position in range(8):
        watched.follow(*[float(position)] * 100)
    assert [slot for _, slot in watched.proposed] == list(range(1, 8))


@pytest.mark.slow
@pytest.mark.parametrize("kbps", [1.5, 2.0, 6.0])
def test_the_budget_holds_over_any_minute(kbps: float) -> None:
    watched = Watched(size=8, kbps=kbps)
    spent = [watched.spent]
    for position in RANDOM.uniform(-1, 1, 100):
        watched.follow(*[position] * 60)
        spent.append(watched.spent)
    assert len(watched.proposed) > 5
    # A minute is thirty of these steps.
    per_minute = np.array(spent[30:]) - np.array(spent[:-30])
    assert per_minute.max() <= kbps * 125 * 60
    assert spent[30] <= kbps * 125 * 60


def test_a_budget_is_that_of_any_minute() -> None:
    budget = Budget(2.0)
    assert budget.left(7000, 100.0) == 8000
    assert budget.left(9000, 130.0) == 6000
    assert budget.left(9000, 159.9) == 6000
    assert budget.left(9000, 160.0) == 13_000
    assert budget.left(29_000, 161.0) == -7000
    assert budget.left(29_000, 1000.0) == 15_000


def test_a_picture_that_turns_out_too_large_waits_for_its_budget() -> None:
    watched = Watched(kbps=2.0)
    watched.follow(*[0.0] * 60)
    assert not watched.policy.affords(9000, watched.spent, watched.number / FPS)
    assert watched.follow(*[0.5] * 300) == []
    ((number, slot),) = watched.follow(*[0.5] * 1800)
    # There is room once the first picture is a minute old.
    assert 1800 <= number < 1830
    assert slot == 1


@pytest.mark.parametrize(("pictures_", "kbps"), [(0, 2.0), (9, 2.0), (4, -1.0), (4, float("nan")), (4, 1e9)])
def test_options_out_of_range_are_refused(pictures_: int, kbps: float) -> None:
    with pytest.raises(RequestError, match=r"--gallery|--source-kbps"):
        GalleryOptions(pictures_, kbps)


def face(eyes: int, shift: int = 0) -> Pictures:
    picture = np.roll(np.tile(np.arange(256, dtype=np.uint8)[:, None, None], (1, 256, 3)), shift, axis=0)
    picture[100:110, 90:110] = picture[100:110, 150:170] = eyes
    return picture


def test_of_the_last_frames_one_with_open_eyes_is_taken() -> None:
    moments = Moments(LAYOUT.distance)
    for number in range(12):
        moments.keep(face(eyes=100 if number in {3, 10, 11} else 10, shift=number % 2), at(0.5))
    chosen, _ = moments.typical()
    assert int(chosen[105, 100, 0]) == 10


def test_only_frames_in_the_newest_pose_are_typical_of_it() -> None:
    moments = Moments(LAYOUT.distance)
    for _ in range(8):
        moments.keep(face(eyes=10), at(0.0))
    for _ in range(3):
        moments.keep(face(eyes=200), at(1.0))
    chosen, keypoints = moments.typical()
    assert int(chosen[105, 100, 0]) == 200
    assert keypoints[0] == pytest.approx(1.0, abs=0.01)
