"""Argument checks common to all forecasters; a violation is a bug of the caller."""

from __future__ import annotations

import numpy as np

from shared.keypoints import Floats


def check_frames(frames: Floats, dimensions: int | None = None) -> Floats:
    """Return `frames` as float32 if it is (T, D), T >= 1 and finite; ValueError otherwise.

    D is `dimensions`, or any number of at least 1.
    """
    frames = np.asarray(frames, dtype=np.float32)
    if frames.ndim != 2 or not frames.size or frames.shape[1] != (dimensions or frames.shape[1]):
        raise ValueError(f"frames must be (T, {dimensions or 'D'}) with T >= 1, not {frames.shape}")
    if not np.isfinite(frames).all():
        # One NaN would stay in a recurrent state for the rest of the call.
        raise ValueError("frames must be finite")
    return frames


def check_steps(steps: int) -> None:
    """Raise ValueError unless at least one step is asked for."""
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
