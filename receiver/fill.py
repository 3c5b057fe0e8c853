"""The one idea: a frame the receiver does not have is forecast, whatever the reason that it is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

from shared.interfaces import Forecaster
from shared.keypoints import DIMENSIONS, POSITIONS, Floats


class Kind(Enum):
    """Where a shown frame's keypoints come from."""

    OBSERVED = "observed"
    FORECAST = "forecast"
    HELD = "held"


@dataclass(frozen=True, eq=False)
class Filled:
    """One frame to render: keypoints (60,) and where they come from."""

    keypoints: Floats
    kind: Kind


@dataclass(frozen=True)
class FillSettings:
    """How forecasts are used, in frames at 30 fps.

    context: frames of the past shown to the forecaster. trust: forecast frames taken as they are; after them each
    step shrinks by `damping`. horizon: forecast frames before the picture holds still. blend: frames over which a
    change of course is spread. leap: how far a point may be forecast to move, in the units of positions.
    """

    context: int = 24
    trust: int = 12
    damping: float = 0.85
    horizon: int = 45
    blend: int = 3
    leap: float = 0.6


class Filler:
    """Turns numbered, gappy keypoints into one frame for every number asked for.

    `fill` is asked for ascending numbers. Frames may be observed after their own moment: they then mend the past
    that forecasts are made from, and a forecast under way is made again.
    """

    def __init__(self, forecaster: Forecaster, settings: FillSettings | None = None) -> None:
        self._forecaster = forecaster
        self._settings = settings or FillSettings()
        self._observed: dict[int, Floats] = {}
        self._forecast: dict[int, Floats] = {}
        self._course: Floats | None = None
        self._start = 0
        self._last: int | None = None
        self._offset = np.zeros(DIMENSIONS, np.float32)
        self._offset_left = 0
        self._expected: Floats | None = None  # where a change of course is blended from

    def observe(self, frames: Mapping[int, Floats]) -> None:
        """Take in frames (60,) by number, in any order."""
        self._observed.update(frames)
        if self._course is not None and self._last is not None and any(n <= self._last for n in frames):
            self._leave_course(self._last + 1)

    def fill(self, number: int) -> Filled | None:
        """Return frame `number`; None while nothing has been observed yet."""
        if self._last is None:
            earlier = [n for n in self._observed if n <= number]
            if not earlier:
                return None
            self._last = min(earlier) - 1
        # Numbers that were never asked for (a slow machine) still count as past; a long pause does not.
        for missed in range(max(self._last + 1, number - self._settings.context), number):
            self._target(missed)
        target, kind = self._target(number)
        self._last = number
        self._forget(number - self._settings.context - 1)
        return Filled(self._blended(target), kind)

    def _target(self, number: int) -> tuple[Floats, Kind]:
        target, kind = self._truth_or_course(number)
        if self._expected is not None:
            self._offset = self._expected - target
            self._offset_left = self._settings.blend
            self._expected = None
        return target, kind

    def _truth_or_course(self, number: int) -> tuple[Floats, Kind]:
        truth = self._observed.get(number)
        if truth is not None:
            self._leave_course(number)
            return truth, Kind.OBSERVED
        if self._course is None:
            self._course, self._start = self._new_course(number), number
        step = number - self._start
        frame = self._course[min(step, len(self._course) - 1)]
        self._forecast[number] = frame
        return frame, Kind.FORECAST if step < len(self._course) - 1 else Kind.HELD

    def _leave_course(self, number: int) -> None:
        """End the course under way; what it would have shown at `number` is where the next blend starts."""
        if self._course is not None:
            step = min(number - self._start, len(self._course) - 1)
            self._expected = self._course[step] + self._offset * self._weight()
            self._course = None

    def _new_course(self, number: int) -> Floats:
        """Return the forecast from `number` on, damped and cut where it leaves reason, ending in a frame to hold."""
        past: list[Floats] = []
        for n in range(number - 1, number - 1 - self._settings.context, -1):
            frame = self._observed.get(n, self._forecast.get(n))
            if frame is None:
                break
            past.append(frame)
        if not past:  # after a long pause: hold the newest frame there is
            newest = self._observed.get(max(self._observed)) if self._observed else None
            return np.stack([newest if newest is not None else self._forecast[max(self._forecast)]])
        self._forecaster.reset()
        self._forecaster.observe(np.stack(past[::-1]))
        return self._tamed(past[0], self._forecaster.forecast(self._settings.horizon))

    def _tamed(self, last: Floats, course: Floats) -> Floats:
        steps = np.diff(course, axis=0, prepend=last[None])
        beyond = np.maximum(np.arange(1, len(course) + 1) - self._settings.trust, 0)
        damped = last + np.cumsum(steps * (self._settings.damping**beyond)[:, None], axis=0)
        # Written so that NaN, which compares false, is cut off too.
        near = np.abs(damped[:, :POSITIONS] - last[:POSITIONS]).max(axis=1) <= self._settings.leap
        sound = near & np.isfinite(damped).all(axis=1)
        length = len(damped) if sound.all() else int(sound.argmin())
        kept = damped[:length].astype(np.float32)
        return np.concatenate([kept, kept[-1:] if length else last[None]])

    def _weight(self) -> float:
        return self._offset_left / (self._settings.blend + 1)

    def _blended(self, target: Floats) -> Floats:
        if not self._offset_left:
            return target
        blended: Floats = (target + self._offset * self._weight()).astype(np.float32)
        self._offset_left -= 1
        return blended

    def _forget(self, before: int) -> None:
        for store in (self._observed, self._forecast):
            newest = max(store, default=before)
            for number in [n for n in store if n < before and n != newest]:
                del store[number]
