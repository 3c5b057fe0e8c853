"""Measure of motion, and the noise that nothing should move by."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.quality.steadiness import FRAMES, NOISE, moved, noisy
from tests.drawn_face import face


def test_noise_is_that_of_a_camera_and_new_in_each_frame() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    frames = noisy(grey)
    assert (frames.shape, frames.dtype) == ((FRAMES, 64, 64, 3), np.uint8)
    assert frames.astype(float).std() == pytest.approx(NOISE, rel=0.02)
    assert abs(frames.mean() - 128) < 0.1
    assert len({frame.tobytes() for frame in frames}) == FRAMES
    assert noisy(np.zeros_like(grey)).min() == 0


def test_movement_is_the_distance_from_where_a_landmark_is_on_average() -> None:
    still = np.stack([face()] * 4)
    assert moved(still) == pytest.approx(0, abs=1e-5)
    # To and fro by a pixel of 128 half a picture, each way.
    swaying = still + np.array([1, -1, 1, -1])[:, None, None] * np.array([1 / 128, 0])
    assert moved(swaying.astype(np.float32)) == pytest.approx(1, rel=1e-4)
    swaying[1] = np.nan
    assert moved(swaying.astype(np.float32)) == pytest.approx(math.sqrt(8 / 9), rel=1e-4)
    assert math.isnan(moved(np.full((3, 175, 2), np.nan, np.float32)))
