"""The demo's voice: a hum that opens and closes with the drawn portrait's mouth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sender.demo import DEMOS, ROUND_S, begins_at, pose_at
from shared.constants import FPS
from shared.media.opus import RATE, Sound

_LOUD = 5000.0
_PITCHES = dict(zip(DEMOS, (118.0, 176.0), strict=True))
_HARMONICS = 24
_SUM = npt.NDArray[np.float64]


class DemoSound:
    """Implements `sender.sound.SoundSource`; the same again after each round of the portrait's motion."""

    lag = 0.0

    def __init__(self, name: str = DEMOS[0]) -> None:
        self._round = np.roll(_speak(_PITCHES[name]), -round(begins_at(name) * RATE))

    def begin(self, start: float) -> None:
        """Do nothing: the voice follows the pictures by their numbers."""

    def read(self, first: int, count: int) -> Sound:
        """Return samples from `first` on; see `SoundSource.read`."""
        return np.take(self._round, np.arange(first, first + count), mode="wrap")

    def close(self) -> None:
        """Nothing to give back."""


def _speak(middle: float) -> Sound:
    """Return one round of a voice of `middle` Hz: vowels whose formants move with mouth and smile."""
    frames = np.arange(0, round(ROUND_S * FPS) + 1) / FPS
    poses = [pose_at(float(t)) for t in frames]
    t = np.arange(round(ROUND_S * RATE)) / RATE
    mouth = np.interp(t, frames, [pose.mouth for pose in poses])
    smile = np.interp(t, frames, [pose.smile for pose in poses])
    # Whole turns in a round, so that it has no seam.
    pitch = middle + 14 * np.sin(2 * np.pi * 4 * t / ROUND_S) + 6 * np.sin(2 * np.pi * 11 * t / ROUND_S)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    phase *= np.round(phase[-1] / (2 * np.pi)) * 2 * np.pi / phase[-1]
    low, high = 320 + 420 * mouth, 1300 + 600 * smile
    total: _SUM = np.zeros_like(t)
    for k in range(1, _HARMONICS + 1):
        near = 1 / (1 + ((k * pitch - low) / 110) ** 2) + 0.5 / (1 + ((k * pitch - high) / 170) ** 2)
        total += (near + 0.01) * np.sin(k * phase)
    return np.asarray(_LOUD * total * np.sqrt(mouth), np.int16)
