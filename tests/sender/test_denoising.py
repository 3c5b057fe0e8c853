"""Noise goes where nothing moves; what moves, and light that changes, is as it came."""

from __future__ import annotations

import numpy as np
import pytest

from sender.crop import CentreSquare, Holding
from sender.demo import pose_at
from sender.denoising import Denoiser
from shared.keypoints import Pictures
from shared.portrait.portrait import Portrait

SIGMA = 12 / 3**0.5
"""As of ffmpeg's noise=alls=12:allf=t."""
RANDOM = np.random.default_rng(0)
STILL = Portrait().draw(pose_at(0.0))


def noisy(picture: Pictures, sigma: float = SIGMA) -> Pictures:
    return (picture + RANDOM.normal(0, sigma, picture.shape)).round().clip(0, 255).astype(np.uint8)


def spread(pictures: list[Pictures]) -> float:
    """Return how much the pixels flicker, in grey levels."""
    return float(np.stack(pictures).std(0).mean())


def test_a_still_picture_flickers_a_fifth_as_much() -> None:
    denoiser = Denoiser()
    came = [noisy(STILL) for _ in range(60)]
    shown = [denoiser.apply(picture) for picture in came]
    assert spread(shown[30:]) < spread(came[30:]) / 5
    assert np.abs(shown[-1].astype(int) - STILL).mean() < np.abs(came[-1].astype(int) - STILL).mean() / 2


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0.0, SIGMA])
def test_a_face_that_talks_is_not_late(sigma: float) -> None:
    """Where the mouth is, what is shown is nearer to the picture of its moment than to the one before."""
    portrait, denoiser = Portrait(), Denoiser()
    frames = [portrait.draw(pose_at(2.0 + n / 30)) for n in range(30)]
    shown = [denoiser.apply(noisy(frame, sigma)) for frame in frames]
    mouth = slice(150, 190), slice(110, 170)

    def apart(a: Pictures, b: Pictures) -> float:
        return float(((a[mouth].astype(float) - b[mouth]) ** 2).mean())

    late = [apart(shown[n], frames[n]) - sigma**2 for n in range(5, 30)]
    moves = [apart(frames[n - 1], frames[n]) for n in range(5, 30)]
    assert sum(late) < 0.1 * sum(moves)


def test_light_that_changes_is_shown_at_once() -> None:
    denoiser = Denoiser()
    for level in (40, 50, 60, 61, 80):
        shown = denoiser.apply(np.full((256, 256, 3), level, np.uint8))
        assert np.abs(shown.astype(int) - level).max() <= 1


def test_another_scene_begins_anew() -> None:
    holding = Holding(CentreSquare(), denoise=True)
    other = np.flip(255 - STILL, 1).copy()
    for _ in range(5):
        holding.apply(noisy(STILL))
    assert (holding.apply(other) == other).all()
    assert holding.scene == 1
