"""Made-up sounds to cancel echoes in: two voices, a room, a loudspeaker that distorts, a steady noise."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from sender.demo_sound import DemoSound
from shared.media.opus import RATE

Signal = npt.NDArray[np.float64]
"""Samples (n,), mono, 48000 per second, at the scale of 16 bits."""

FAR_PITCH, NEAR_PITCH = 1.0, 1.6
_BREATH = 0.1
_ENVELOPE = RATE // 50
_ECHO_GAIN = 0.5
_DIRECT = 4.0
_KNEE = 12_000.0
_FLOOR = 3.0


def speech(seconds: float, pitch: float, seed: int) -> Signal:
    """Return the demo's voice, `pitch` times as high and as fast, with breath in it, over a faint hiss."""
    random = np.random.default_rng(seed)
    count = round(seconds * RATE)
    told = DemoSound().read(0, round(count * pitch) + 2).astype(np.float64)
    voice = np.interp(np.arange(count) * pitch, np.arange(len(told)), told)
    loudness = np.convolve(np.abs(voice), np.full(_ENVELOPE, 1 / _ENVELOPE), mode="same")
    spoken: Signal = voice + random.standard_normal(count) * (_BREATH * loudness + _FLOOR)
    return spoken


def noise(seconds: float, level: float, seed: int) -> Signal:
    """Return steady noise whose standard deviation is `level`, as of a fan: what is high is softer."""
    white = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    spectrum = np.fft.rfft(white)
    spectrum /= np.sqrt(1 + (np.arange(len(spectrum)) / len(spectrum) * 24) ** 2)
    pink: Signal = np.fft.irfft(spectrum, len(white))
    pink *= level / pink.std()
    return pink


def room(seconds: float, seed: int) -> Signal:
    """Return a room's impulse response that decays by 60 dB in `seconds`, the direct way before the rest."""
    count = round(seconds * RATE)
    response: Signal = np.random.default_rng(seed).standard_normal(count) * 10 ** (
        -3 * np.arange(count) / count
    )
    response[0] = _DIRECT
    response *= _ECHO_GAIN / np.sqrt((response**2).sum())
    return response


def through(sound: Signal, response: Signal) -> Signal:
    """Return `sound` as it is heard through `response`, as long as it was."""
    size = len(sound) + len(response)
    heard: Signal = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(response, size), size)
    return heard[: len(sound)]


def distorted(sound: Signal) -> Signal:
    """Return `sound` out of a small loudspeaker at its limits: what is loud is flattened."""
    return _KNEE * np.tanh(sound / _KNEE)


def delayed(sound: Signal, seconds: float) -> Signal:
    """Return `sound` later by `seconds`, as long as it was."""
    late = round(seconds * RATE)
    return np.concatenate([np.zeros(late), sound[: len(sound) - late]])


def level_db(sound: npt.NDArray[np.generic]) -> float:
    """Return the level in dB above one step of 16 bits; at least 0, which is silence."""
    power = float(np.mean(np.square(sound.astype(np.float64))))
    return 10 * math.log10(max(power, 1.0))


def si_sdr_db(heard: npt.NDArray[np.generic], wanted: Signal) -> float:
    """Return how much of `heard` is `wanted`, at whatever level, beside all else in it (SI-SDR), in dB."""
    given = heard.astype(np.float64)
    part = wanted * (given @ wanted / (wanted @ wanted))
    return float(10 * np.log10((part**2).sum() / max(((given - part) ** 2).sum(), 1e-9)))
