"""Inaudible time stretching of a voice: a whole period is left out, or repeated."""

from __future__ import annotations

import numpy as np

from shared.media.opus import RATE, Sound

_SHORTEST, _LONGEST = RATE // 400, RATE // 80
_BLEND = RATE // 100
MIN_SAMPLES = _LONGEST + _BLEND
"""Samples that a splice looks at, from the beginning."""


def shortened(sound: Sound) -> Sound:
    """Return `sound` without one period (2.5 to 12.5 ms) near its beginning, or as it is where short."""
    if len(sound) < MIN_SAMPLES:
        return sound
    period = _period(sound)
    blended = _blend(sound[:_BLEND], sound[period : period + _BLEND])
    return np.concatenate([blended, sound[period + _BLEND :]])


def lengthened(sound: Sound) -> Sound:
    """Return `sound` with one period (2.5 to 12.5 ms) near its beginning twice, or as it is where short."""
    if len(sound) < MIN_SAMPLES:
        return sound
    period = _period(sound)
    blended = _blend(sound[period : period + _BLEND], sound[:_BLEND])
    return np.concatenate([sound[:period], blended, sound[_BLEND:]])


def _period(sound: Sound) -> int:
    """Return the shift at which `sound` is most like its own beginning."""
    samples = sound[:MIN_SAMPLES].astype(np.float64)
    head = samples[:_BLEND]
    windows = np.lib.stride_tricks.sliding_window_view(samples[_SHORTEST:], _BLEND)
    # In silence all shifts are alike, and the shortest is taken.
    norms = np.sqrt((windows**2).sum(axis=1)) + 1.0
    return _SHORTEST + int(np.argmax(windows @ head / norms))


def _blend(before: Sound, after: Sound) -> Sound:
    rising = np.linspace(0, 1, _BLEND)
    return np.asarray(np.round(before * (1 - rising) + after * rising), np.int16)
