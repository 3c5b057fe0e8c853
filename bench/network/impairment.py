"""Network impairment: its description, and the decision for each datagram. Pure and seeded."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from shared.errors import RequestError

_MAX_MS = 60_000.0
_MAX_SECONDS = 86_400.0
_MAX_KBPS = 1e6
_FULL_PACKETS = 4000
"""Bytes that the queue before a bottleneck holds in any case: three datagrams of full size."""
_EXAMPLE = 'such as "loss=20,jitter=200,rate=30"'


@dataclass(frozen=True)
class PathImpairment:
    """Impairment of datagrams, separately for each direction.

    Shares are in percent of the datagrams, times in ms, unless said otherwise.

    loss        share lost at random
    burst       share lost in bursts of on average `burst_length` datagrams (Gilbert's model), besides `loss`
    delay       what every datagram takes
    jitter      at most so much more, uniform, each for itself: later ones may overtake
    reorder     share held back by another `reorder_ms`
    duplicate   share that arrives twice
    rate        kbps, IP headers included, of a bottleneck; 0: none
    queue       what waits before the bottleneck, in ms at its rate (at least 4000 bytes); the rest is lost
    cuts        (begin, length) in seconds from the first datagram: nothing passes in between
    """

    loss: float = 0.0
    burst: float = 0.0
    burst_length: float = 5.0
    delay: float = 0.0
    jitter: float = 0.0
    reorder: float = 0.0
    reorder_ms: float = 200.0
    duplicate: float = 0.0
    rate: float = 0.0
    queue: float = 1000.0
    cuts: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        for name, (low, high, unit) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise RequestError(
                    f"The impairment {name}={value:g} is out of range; give {low:g} to {high:g} {unit}."
                )
        for begin, length in self.cuts:
            if not (0 <= begin <= _MAX_SECONDS and 0 < length <= _MAX_SECONDS):
                raise RequestError(
                    f"The cut {begin:g}:{length:g} is out of range; "
                    "give its start and its length in seconds, such as cut=5:3."
                )

    @classmethod
    def parse(cls, text: str) -> PathImpairment:
        """Read "loss=20,burst=5:4,reorder=10:200,cut=5:3,cut=20:1"; "" is a path without fault.

        What stands after a colon is the length of bursts in datagrams, the ms a datagram is held back, the
        seconds a cut lasts. Raise RequestError, in one sentence, on anything else.
        """
        found: dict[str, Any] = {}
        cuts: list[tuple[float, float]] = []
        for name, first, second in _parts(text):
            if name == "cut":
                if second is None:
                    raise RequestError("A cut needs its start and its length in seconds, such as cut=5:3.")
                cuts.append((first, second))
                continue
            if name in found:
                raise RequestError(f"The impairment {name} is given twice; give it once.")
            found[name] = first
            if second is not None:
                found[_SECOND[name]] = second
        return cls(**found, cuts=tuple(cuts))


_RANGES = {
    "loss": (0, 100, "percent"),
    "burst": (0, 90, "percent"),
    "burst_length": (1, 1000, "datagrams"),
    "delay": (0, _MAX_MS, "ms"),
    "jitter": (0, _MAX_MS, "ms"),
    "reorder": (0, 100, "percent"),
    "reorder_ms": (0, _MAX_MS, "ms"),
    "duplicate": (0, 100, "percent"),
    "rate": (0, _MAX_KBPS, "kbps"),
    "queue": (0, _MAX_MS, "ms"),
}
_SECOND = {"burst": "burst_length", "reorder": "reorder_ms"}
_NAMES = (*(f.name for f in fields(PathImpairment) if f.name not in (*_SECOND.values(), "cuts")), "cut")


def _parts(text: str) -> Iterator[tuple[str, float, float | None]]:
    """Yield name, value and what stands after the value's colon of each part of `text`."""
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.partition("=")
        if name not in _NAMES:
            raise RequestError(
                f"There is no impairment {name!r}; choose from {', '.join(_NAMES)}, {_EXAMPLE}."
            )
        first, colon, second = value.partition(":")
        if colon and name not in (*_SECOND, "cut"):
            raise RequestError(f"The impairment {part!r} takes one number, {_EXAMPLE}.")
        yield name, _number(first, part), _number(second, part) if colon else None


def _number(text: str, part: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RequestError(f"The impairment {part!r} has no valid number; write it like {_EXAMPLE[8:]}.")
    return value


class Lane:
    """One direction of an impaired path: decides for each datagram whether and when it arrives."""

    def __init__(self, impairment: PathImpairment, seed: int) -> None:
        self._how = impairment
        self._random = random.Random(seed)
        self._in_burst = False
        self._epoch: float | None = None
        self._free_at = -math.inf

    def arrivals(self, size: int, now: float) -> tuple[float, ...]:
        """Return when the copies of a datagram of `size` IP bytes, sent at `now` (s), arrive; none: lost.

        `now` never decreases.
        """
        self._epoch = now if self._epoch is None else self._epoch
        if self._is_cut(now - self._epoch) or self._is_lost():
            return ()
        through = self._through_bottleneck(size, now)
        if through is None:
            return ()
        copies = 2 if self._happens(self._how.duplicate) else 1
        return tuple(through + self._on_the_way() for _ in range(copies))

    def _happens(self, percent: float) -> bool:
        return percent > 0 and self._random.random() * 100 < percent

    def _is_cut(self, elapsed: float) -> bool:
        return any(begin <= elapsed < begin + length for begin, length in self._how.cuts)

    def _is_lost(self) -> bool:
        """Gilbert's two states: in the bad one, left with 1 / length, all is lost; `burst` sets its entry."""
        if self._how.burst:
            leave = 1 / self._how.burst_length
            enter = min(1.0, leave * self._how.burst / (100 - self._how.burst))
            self._in_burst = self._random.random() < (1 - leave if self._in_burst else enter)
        return self._in_burst or self._happens(self._how.loss)

    def _through_bottleneck(self, size: int, now: float) -> float | None:
        """Return when the datagram has passed the bottleneck; None where the queue has no room for it."""
        if not self._how.rate:
            return now
        per_second = self._how.rate * 1000 / 8
        begin = max(now, self._free_at)
        waiting = (begin - now) * per_second
        if waiting + size > max(per_second * self._how.queue / 1000, _FULL_PACKETS):
            return None
        self._free_at = begin + size / per_second
        return self._free_at

    def _on_the_way(self) -> float:
        """Return the seconds one copy takes after the bottleneck."""
        ms = self._how.delay
        if self._how.jitter:
            ms += self._random.uniform(0, self._how.jitter)
        if self._happens(self._how.reorder):
            ms += self._how.reorder_ms
        return ms / 1000
