"""Selection of the frames of a clip that training keeps: those that landmarks in files are of."""

from __future__ import annotations

FRAMES_PER_SECOND = 8.0
FRAMES_PER_CLIP = 120


def first_stride(rate: float) -> int:
    """Return the step between kept frames of a clip of `rate` frames per second, for 8 per second."""
    return max(1, round(rate / FRAMES_PER_SECOND))


def kept_frames(count: int, rate: float) -> range:
    """Return the numbers of the kept frames of `count` at `rate` frames per second: at most 120 in all."""
    stride = first_stride(rate)
    while len(range(0, count, stride)) > FRAMES_PER_CLIP:
        stride *= 2
    return range(0, count, stride)
