"""Input checks for networks: one sentence of refusal for what a network cannot be run on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.errors import RequestError
from shared.keypoints import Floats, Pictures

# Far outside of any picture, and small enough that no motion computed from it overflows float32.
MAX_KEYPOINT = 1e4


def check_pictures(pictures: Pictures, sizes: Sequence[int]) -> None:
    """Raise RequestError unless `pictures` is (B, S, S, 3) uint8 with B >= 1, S being one of `sizes`."""
    shapes = [(size, size, 3) for size in sizes]
    if (
        pictures.dtype != "uint8"
        or pictures.ndim != 4
        or pictures.shape[1:] not in shapes
        or not len(pictures)
    ):
        known = " or ".join(f"{size}x{size}" for size in sizes)
        raise RequestError(
            f"The network takes {known} RGB pictures of 8 bits, not {pictures.dtype} {pictures.shape}; "
            "crop and scale them first."
        )


def check_keypoints(keypoints: Floats, dimensions: int) -> None:
    """Raise RequestError unless `keypoints` is (B, dimensions), B >= 1, of finite numbers within +-10,000."""
    if keypoints.ndim != 2 or keypoints.shape[1] != dimensions or not len(keypoints):
        raise RequestError(f"The network takes keypoints of shape (B, {dimensions}), not {keypoints.shape}.")
    # Written so that NaN, which compares false, is refused.
    if not bool((np.abs(keypoints) <= MAX_KEYPOINT).all()):
        raise RequestError("The keypoints hold NaN, infinity or positions far outside of the picture.")
