"""Cuts are seen; people who move, light that changes and noise are none."""

from __future__ import annotations

import numpy as np
import pytest

from sender.demo import pose_at
from sender.scenes import Cuts
from shared.keypoints import Pictures
from shared.portrait.portrait import Portrait

RANDOM = np.random.default_rng(0)


def room(seed: int, width: int = 320, height: int = 180) -> Pictures:
    """Return patches of grey, as a room seen from afar."""
    small = np.random.default_rng(seed).integers(0, 255, (6, 10, 3))
    return np.kron(small, np.ones((height // 6, width // 10, 1))).astype(np.uint8)


def cuts(*pictures: Pictures) -> list[int]:
    seen = Cuts()
    return [n for n, picture in enumerate(pictures) if seen.is_cut(picture)]


def test_another_room_is_a_cut_whatever_its_size() -> None:
    assert cuts(room(0), room(0), room(1), room(1), room(2, 640, 360), room(2, 640, 360)) == [2, 4]


def test_to_nothing_and_back_is_one_each() -> None:
    nothing = np.zeros((180, 320, 3), np.uint8)
    assert cuts(nothing, nothing, room(0), room(0), nothing, room(0)) == [2, 4, 5]


@pytest.mark.slow
@pytest.mark.parametrize("step", [1 / 30, 0.2])
def test_a_person_who_moves_is_none(step: float) -> None:
    portrait = Portrait()
    assert not cuts(*(portrait.draw(pose_at(n * step)) for n in range(30)))


def test_noise_a_pan_and_a_lamp_are_none() -> None:
    noisy = [
        np.clip(room(0) + RANDOM.normal(0, 12, room(0).shape), 0, 255).astype(np.uint8) for _ in range(9)
    ]
    assert not cuts(*noisy)
    assert not cuts(*(np.roll(room(0), 2 * n, axis=1) for n in range(30)))
    assert not cuts(*((room(0) * (0.5 + 0.05 * n)).astype(np.uint8) for n in range(10)))


def test_what_fades_in_from_nothing_begins_where_it_stands() -> None:
    shares = [0.0, 0.0, *np.linspace(0, 1, 40), 1.0, 1.0, 1.0]
    (at,) = cuts(*((room(0) * share).astype(np.uint8) for share in shares))
    assert shares[at] > 0.2
