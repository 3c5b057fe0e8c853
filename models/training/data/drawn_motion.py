"""Motion of drawn people: talking, turning, blinking and looking around, all more often than on camera."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shared.portrait.pose import Pose

Values = npt.NDArray[np.float64]
_Rng = np.random.Generator


def motion(rng: _Rng, frames: int, rate: float) -> list[Pose]:
    """Return what one person does in `frames` frames, `rate` per second."""
    seconds = np.arange(frames) / rate
    yaw = np.clip(_drift(rng, seconds, 0.24) + rng.normal(0, 0.16), -0.8, 0.8)
    pitch = np.clip(_drift(rng, seconds, 0.09) + rng.normal(0, 0.07), -0.35, 0.35)
    roll = np.clip(_drift(rng, seconds, 0.06) + rng.normal(0, 0.04), -0.3, 0.3)
    sway = 0.05 * yaw + _drift(rng, seconds, 0.02), _drift(rng, seconds, 0.015)
    mouth, smile = _speech(rng, frames)
    blink, brows = _blinks(rng, frames), np.clip(_drift(rng, seconds, 0.45), -1, 1)
    gaze = _gaze(rng, frames)
    return [
        Pose(
            yaw=float(yaw[i]), pitch=float(pitch[i]), roll=float(roll[i]),
            sway=(float(sway[0][i]), float(sway[1][i])), mouth=float(mouth[i]), smile=float(smile[i]),
            blink=float(blink[i]), brows=float(brows[i]), gaze=(float(gaze[i, 0]), float(gaze[i, 1])),
        )
        for i in range(frames)
    ]  # fmt: skip


def _drift(rng: _Rng, seconds: Values, spread: float) -> Values:
    """Return a smooth wandering (T,) of about this spread."""
    total = np.zeros_like(seconds)
    for _ in range(3):
        pace, phase = rng.uniform(0.4, 4.0), rng.uniform(0, 2 * np.pi)
        total += rng.normal(0, spread) * np.sin(pace * seconds + phase)
    return total * 0.8


def _stretches(rng: _Rng, frames: int, shortest: int, longest: int) -> list[slice]:
    """Cut the frames into stretches of random length."""
    cuts, at = [], 0
    while at < frames:
        end = at + int(rng.integers(shortest, longest + 1))
        cuts.append(slice(at, min(end, frames)))
        at = end
    return cuts


def _speech(rng: _Rng, frames: int) -> tuple[Values, Values]:
    """Return how far the mouth is open and how wide it is (T,): talk, silence, and wide open."""
    mouth, smile = np.zeros(frames), np.zeros(frames)
    for part in _stretches(rng, frames, 3, 9):
        length = part.stop - part.start
        kind = rng.random()
        if kind < 0.62:
            mouth[part] = rng.beta(1.1, 1.9, length) * rng.uniform(0.5, 1.1)
            smile[part] = rng.uniform(-0.3, 0.4) + rng.normal(0, 0.35, length)
        elif kind < 0.85:
            mouth[part] = max(0.0, rng.normal(0, 0.06))
            smile[part] = rng.choice([rng.uniform(-0.2, 0.3), rng.uniform(0.4, 1.0), rng.uniform(-1, -0.3)])
        else:
            mouth[part] = rng.uniform(0.5, 1.15) * np.sin(np.linspace(0.4, 2.7, length))
            smile[part] = rng.uniform(-0.4, 0.9)
    return np.clip(mouth, 0, 1.15), np.clip(smile, -1, 1)


def _blinks(rng: _Rng, frames: int) -> Values:
    """Return how far the lids are shut (T,): blinks, eyes kept shut, and lids half way."""
    shut = np.zeros(frames)
    for part in _stretches(rng, frames, 4, 10):
        length = part.stop - part.start
        kind = rng.random()
        if kind < 0.55:
            at = part.start + int(rng.integers(length))
            for offset, value in ((-1, rng.uniform(0, 0.6)), (0, 1.0), (1, rng.uniform(0.1, 0.8))):
                if 0 <= at + offset < frames:
                    shut[at + offset] = max(shut[at + offset], value)
        elif kind < 0.70:
            shut[part] = np.maximum(shut[part], 1.0)
        elif kind < 0.85:
            shut[part] = np.maximum(shut[part], rng.uniform(0.2, 0.8) + rng.normal(0, 0.08, length))
    return np.clip(shut, 0, 1)


def _gaze(rng: _Rng, frames: int) -> Values:
    """Return where the eyes look (T, 2): fixations with jumps between them."""
    gaze = np.zeros((frames, 2))
    for part in _stretches(rng, frames, 2, 6):
        aside = rng.random() < 0.6
        gaze[part] = rng.uniform((-1, -0.7), (1, 0.8)) if aside else rng.normal(0, 0.12, 2)
    return gaze + rng.normal(0, 0.02, gaze.shape)
