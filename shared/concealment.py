"""Concealment: a frame the receiver does not have is forecast, whatever the reason that it is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

from shared.interfaces import Forecaster
from shared.keypoints import Floats, KeypointLayout


class Kind(Enum):
    """Origin of a shown frame's keypoints."""

    OBSERVED = "observed"
    FORECAST = "forecast"
    HELD = "held"
    INTERPOLATED = "interpolated"


Ahead = tuple[int, Floats]
"""Number and keypoints (D,) of a frame that is known before its moment."""


@dataclass(frozen=True, eq=False)
class Filled:
    """One frame to render: keypoints (D,) and where they come from."""

    keypoints: Floats
    kind: Kind


@dataclass(frozen=True)
class ConcealmentSettings:
    """Settings for the use of forecasts, in frames at 30 fps.

    context: frames of the past shown to the forecaster. trust: forecast frames taken as they are; after
    them each step shrinks by `damping`. horizon: forecast frames before the picture holds still. blend:
    frames over which a change of trajectory is spread: with one, the first frame of truth goes half the way.
    That is about as smooth as faces are; spread over three, all of a block of three was shown partly as it
    had been forecast, and lips opened by .76 of what they do instead of .84. Where a forecast takes a number
    further from the last frame observed than the layout's reach, the picture holds still.
    """

    context: int = 24
    trust: int = 12
    damping: float = 0.85
    horizon: int = 45
    blend: int = 1


class Concealer:
    """Turns numbered, gappy keypoints into one frame for every number asked for.

    `fill` is asked for ascending numbers; a smaller one begins again there. Frames may be observed after
    their own moment: they then mend the past that forecasts are made from, and a forecast under way is made
    again.
    """

    def __init__(
        self, forecaster: Forecaster, layout: KeypointLayout, settings: ConcealmentSettings | None = None
    ) -> None:
        self._forecaster = forecaster
        self._reach = layout.reach
        self._settings = settings or ConcealmentSettings()
        self._observed: dict[int, Floats] = {}
        self._forecast: dict[int, Floats] = {}
        self._trajectory: Floats | None = None  # the forecast under way; its last frame is held
        self._start = 0  # the number of its first frame
        self._last: int | None = None
        self._shown: Floats | None = None
        self._offset = np.zeros(layout.dimensions, np.float32)
        self._offset_left = 0
        self._expected: Floats | None = None  # where a change of trajectory is blended from

    def observe(self, frames: Mapping[int, Floats]) -> None:
        """Take in frames (D,) by number, in any order; of two with one number the first counts."""
        new = {n: frame for n, frame in frames.items() if n not in self._observed}
        self._observed.update(new)
        if self._last is not None and any(n <= self._last for n in new):
            self._leave_trajectory(self._last + 1)

    def fill(self, number: int, ahead: Ahead | None = None) -> Filled | None:
        """Return frame `number`; None while nothing has been observed yet.

        Where a frame `ahead` is known already, a missing one is not forecast but lies on the line to it.
        """
        if self._last is not None and number <= self._last:
            self._begin_again(number)
        if self._last is None:
            earlier = [n for n in self._observed if n <= number]
            if not earlier:
                return None
            self._last = min(earlier) - 1
        # Numbers that were never asked for (a slow machine) still count as past; a long pause does not.
        for missed in range(max(self._last + 1, number - self._settings.context), number):
            self._target(missed, ahead)
        target, kind = self._target(number, ahead)
        self._last = number
        self._forget(number - self._settings.context)
        self._shown = self._blended(target)
        return Filled(self._shown, kind)

    def _begin_again(self, number: int) -> None:
        """Go on at an earlier `number`: from what was observed before it, else from what is shown."""
        self._trajectory, self._expected, self._offset_left = None, self._shown, 0
        self._observed = {n: frame for n, frame in self._observed.items() if n <= number}
        self._forecast = {n: frame for n, frame in self._forecast.items() if n < number}
        self._last = number - 1
        if self._shown is not None and not any(n < number for n in self._observed):
            self._observed[number - 1] = self._shown

    def expected(self, number: int) -> Floats | None:
        """Return what `fill` would aim at for frame `number` (D,), blending apart; None before any frame.

        Asks ahead: what `fill` has returned so far stays as it was.
        """
        if number in self._observed:
            return self._observed[number]
        if not any(n < number for n in self._observed):
            return None
        if self._trajectory is None:
            self._trajectory = self._new_trajectory(number)
        shown: Floats = self._trajectory[min(number - self._start, len(self._trajectory) - 1)]
        return shown

    def _target(self, number: int, ahead: Ahead | None) -> tuple[Floats, Kind]:
        target, kind = self._truth_or_forecast(number, ahead)
        if self._expected is not None:
            self._offset = self._expected - target
            self._offset_left = self._settings.blend
            self._expected = None
        return target, kind

    def _truth_or_forecast(self, number: int, ahead: Ahead | None) -> tuple[Floats, Kind]:
        truth = self._observed.get(number)
        if truth is not None:
            self._leave_trajectory(number)
            return truth, Kind.OBSERVED
        if ahead is not None and ahead[0] > number:
            self._leave_trajectory(number)
            self._forecast[number] = between = self._between(number, *ahead)
            return between, Kind.INTERPOLATED
        if self._trajectory is None:
            self._trajectory = self._new_trajectory(number)
        step = min(number - self._start, len(self._trajectory) - 1)
        self._forecast[number] = self._trajectory[step]
        return self._trajectory[step], Kind.FORECAST if step < len(self._trajectory) - 1 else Kind.HELD

    def _between(self, number: int, after: int, frame: Floats) -> Floats:
        """Return frame `number` (D,) on the line from the last observed before it to `frame`, `after`."""
        last = max(n for n in self._observed if n < number)
        share = (number - last) / (after - last)
        line: Floats = (self._observed[last] + share * (frame - self._observed[last])).astype(np.float32)
        return line

    def _leave_trajectory(self, number: int) -> None:
        """End the trajectory; what it would have shown at `number` is where the next blend starts."""
        if self._trajectory is not None:
            step = min(number - self._start, len(self._trajectory) - 1)
            self._expected = self._trajectory[step] + self._offset * self._weight()
            self._trajectory = None

    def _new_trajectory(self, number: int) -> Floats:
        """Return the forecast (T, D) that follows the last frame observed before `number`."""
        last = max(n for n in self._observed if n < number)
        self._start = last + 1
        past: list[Floats] = []
        for n in range(last, last - self._settings.context, -1):
            frame = self._observed.get(n, self._forecast.get(n))
            if frame is None:
                break
            past.append(frame)
        self._forecaster.reset()
        self._forecaster.observe(np.stack(past[::-1]))
        trajectory = self._tamed(past[0], self._forecaster.forecast(self._settings.horizon))
        for n in range(max(self._start, number - self._settings.context), number):
            self._forecast[n] = trajectory[min(n - self._start, len(trajectory) - 1)]
        return trajectory

    def _tamed(self, last: Floats, trajectory: Floats) -> Floats:
        """Return `trajectory` damped, cut where it leaves reason, and ending in a frame to hold."""
        beyond = np.maximum(np.arange(1, len(trajectory) + 1) - self._settings.trust, 0)
        with np.errstate(all="ignore"):  # a network may give NaN or infinity
            steps = np.diff(trajectory, axis=0, prepend=last[None])
            damped = last + np.cumsum(steps * (self._settings.damping**beyond)[:, None], axis=0)
            moved = np.abs(damped - last)
        # Written so that NaN, which compares false, is cut off too.
        sound = (moved <= self._reach).all(axis=1)
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
        # The newest of the past stays whatever its age: a forecast starts at it.
        for store in (self._observed, self._forecast):
            for number in sorted(n for n in store if n < before)[:-1]:
                del store[number]
