"""Test cases: sounds in a room, and the devices that play and record them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bench.echo.devices import Devices
from bench.echo.signals import FAR_PITCH, NEAR_PITCH, Signal, delayed, distorted, noise, room, speech, through

ROOM_SECONDS = 0.2
_STILL = 5.0
"""Standard deviation of the noise of a quiet room, at the scale of 16 bits."""


@dataclass(frozen=True)
class Case:
    """Who speaks (`far` and `near` are how loud, 1 as the demo), in which room, by which devices.

    `delay` is in seconds from when sound is given to the loudspeaker until it is recorded; with `then` it
    changes to that, and the room with it, in the middle. `hiss` is the standard deviation of steady noise.
    """

    name: str
    far: float = 1.0
    near: float = 0.0
    delay: float = 0.06
    then: float | None = None
    small_speaker: bool = False
    hiss: float = _STILL
    gain_control: bool = False
    devices: Devices = field(default_factory=Devices)


CASES = (
    Case("a room"),
    Case("a far loudspeaker, 200 ms", delay=0.2),
    Case("a loudspeaker that distorts", small_speaker=True),
    Case("a clock 100 ppm fast", devices=Devices(ppm=100)),
    Case("a clock 100 ppm slow", devices=Devices(ppm=-100)),
    Case("callbacks up to 20 ms late", devices=Devices(960, 441, late=0.02)),
    Case("60 ms become 140", then=0.14),
    Case("with gain control", gain_control=True),
    Case("both speak", near=1.0),
    Case("both speak, 100 ppm", near=1.0, devices=Devices(ppm=100)),
    Case("both speak, near softly", near=0.5),
    Case("near speaks in a fan's noise", far=0.0, near=1.0, hiss=150.0),
    Case("near speaks softly, gain control", far=0.0, near=0.1, gain_control=True),
)


@dataclass(frozen=True)
class Sounds:
    """`played` by the loudspeaker, and in the microphone: `near` and `noise`; `echo` is what is too much."""

    played: Signal
    echo: Signal
    near: Signal
    noise: Signal


def sounds(case: Case, seconds: float, seed: int) -> Sounds:
    """Return the sounds of a case, each as long."""
    far = case.far * speech(seconds, FAR_PITCH, seed)
    heard = distorted(far) if case.small_speaker else far
    echo = delayed(through(heard, room(ROOM_SECONDS, seed + 1)), case.delay)
    if case.then is not None:
        half = len(echo) // 2
        other = delayed(through(heard, room(ROOM_SECONDS, seed + 2)), case.then)
        echo = np.concatenate([echo[:half], other[half:]])
    near = case.near * speech(seconds, NEAR_PITCH, seed + 3)
    return Sounds(far, echo, near, noise(seconds, case.hiss, seed + 4))
