"""A loudspeaker and a microphone in one room, in virtual time: blocks, clocks that differ, late callbacks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge

import numpy as np

from bench.echo.signals import Signal
from shared.media.echo import EchoCanceller
from shared.media.opus import RATE, Sound


@dataclass(frozen=True)
class Devices:
    """Blocks in samples; the microphone's clock is `ppm` faster; callbacks are up to `late` seconds late."""

    speaker_block: int = 480
    microphone_block: int = 480
    ppm: float = 0.0
    late: float = 0.004
    seed: int = 0


@dataclass(frozen=True)
class _Block:
    """Given by a device, or to it, at `at`; its first sample is number `first`."""

    at: float
    recorded: bool
    first: int
    sound: Sound


def recorded(sound: Signal, ppm: float) -> Signal:
    """Return `sound` as a device records it whose clock is `ppm` faster."""
    numbers = np.arange(round(len(sound) * (1 + ppm * 1e-6)))
    return np.interp(numbers / (1 + ppm * 1e-6), np.arange(len(sound)), sound)


def cleaned(canceller: EchoCanceller, far: Signal, near: Signal, devices: Devices) -> Sound:
    """Return what the canceller makes of `near` (as recorded), in the place where it belongs, as long."""
    random = np.random.default_rng(devices.seed)
    pace = RATE * (1 + devices.ppm * 1e-6)
    played = _blocks(far, devices.speaker_block, RATE, devices.late, random, recorded=False)
    given = _blocks(near, devices.microphone_block, pace, devices.late, random, recorded=True)
    out = np.zeros(len(near), np.int16)
    for block in merge(played, given, key=lambda block: block.at):
        if not block.recorded:
            canceller.played(block.sound, block.at)
            continue
        clean, begins = canceller.clean(block.sound, block.first / RATE, block.at)
        first = round(begins * RATE)
        kept = clean[max(-first, 0) :]
        out[max(first, 0) : max(first, 0) + len(kept)] = kept
    return out


def _blocks(
    sound: Signal, size: int, pace: float, late: float, random: np.random.Generator, *, recorded: bool
) -> Iterator[_Block]:
    """Yield blocks as callbacks have them: a loudspeaker's when due, a microphone's when it is whole."""
    samples = np.clip(sound, -32768, 32767).astype(np.int16)
    at = 0.0
    for first in range(0, len(samples) - size + 1, size):
        due = (first + (size if recorded else 0)) / pace
        # Mostly a little, now and then by all of it; and never before the one before.
        at = max(at, due + late * float(random.random()) ** 4)
        yield _Block(at, recorded, first, samples[first : first + size])
