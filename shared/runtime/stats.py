"""Numbers for reports: rates, percentiles, stage times. Pure counting, no clock."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from shared.constants import REFERENCE_KBPS
from shared.interfaces import CAUSES, Connection, Direction, NetworkPath


class Percentiles(NamedTuple):
    """The 50th, 95th and 99th percentile, in the unit of the values."""

    p50: float
    p95: float
    p99: float


def percentiles(values: Sequence[float]) -> Percentiles:
    """Return the percentiles of `values`, linearly interpolated; zeros when there are none."""
    if not values:
        return Percentiles(0.0, 0.0, 0.0)
    p50, p95, p99 = np.percentile(values, (50, 95, 99))
    return Percentiles(float(p50), float(p95), float(p99))


def kbps(byte_count: int, seconds: float) -> float:
    """Return kilobits per second; 0 over no time."""
    return byte_count * 8 / 1000 / seconds if seconds > 0 else 0.0


def rates(seconds: float, byte_counts: Mapping[str, int]) -> dict[str, float]:
    """Return the kbps of what came over both ways in `seconds`, by kind; zeros where nothing is known.

    `byte_counts` has payload, pictures, audio, and all IP bytes as wire_up and wire_down. Overhead is what
    these have beyond the first three.
    """
    kinds = {name: byte_counts.get(name, 0) for name in ("payload", "pictures", "audio")}
    wire = {name: byte_counts.get(name, 0) for name in ("wire_up", "wire_down")}
    every = {**kinds, "overhead": max(0, sum(wire.values()) - sum(kinds.values())), **wire}
    return {f"{name}_kbps": kbps(count, seconds) for name, count in every.items()}


def savings(rate_kbps: float) -> float:
    """Return how many times less `rate_kbps` is than the 500 kbps of an ordinary call; infinite for none."""
    return REFERENCE_KBPS / rate_kbps if rate_kbps > 0 else float("inf")


def path_suffix(path: NetworkPath) -> str:
    """Return ", directly" or ", over a relay", to end a sentence with; "" where the path is not known."""
    return {"direct": ", directly", "relay": ", over a relay"}.get(path, "")


class Reservoir:
    """A uniform sample of at most `capacity` of all values added (Vitter's Algorithm R), seeded.

    Exact until it is full; a call of any length takes the same memory.
    """

    def __init__(self, capacity: int = 8192, seed: int = 0) -> None:
        self._capacity = capacity
        self._random = random.Random(seed)
        self._values: list[float] = []
        self.count = 0

    def add(self, value: float) -> None:
        """Take one value in."""
        self.count += 1
        if len(self._values) < self._capacity:
            self._values.append(value)
            return
        slot = self._random.randrange(self.count)
        if slot < self._capacity:
            self._values[slot] = value

    def percentiles(self) -> Percentiles:
        """Return the percentiles of the sample; zeros when nothing was added."""
        return percentiles(self._values)


class StageTimes:
    """Duration of each named stage."""

    def __init__(self) -> None:
        self._totals: dict[str, tuple[int, float]] = {}

    def add(self, stage: str, seconds: float, times: int = 1) -> None:
        """Add `seconds` that `stage` took for `times` frames together."""
        count, total = self._totals.get(stage, (0, 0.0))
        self._totals[stage] = (count + times, total + seconds)

    def mean_ms(self) -> dict[str, float]:
        """Return the mean milliseconds a frame of every stage, in the order first seen."""
        return {stage: total * 1000 / count for stage, (count, total) in self._totals.items() if count}


_AMONG = {"pictures": "control", "reports": "control", "keypoints": "sound"}
"""What a connection cannot tell from the rest, since it does not read messages, nor into sound packets."""


class Traffic:
    """Bytes and pieces of messages over all connections of a call, one after the other."""

    def __init__(self) -> None:
        self._before: Counter[str] = Counter()
        self._causes: dict[Direction, Counter[str]] = {"sent": Counter(), "received": Counter()}

    def left(self, connection: Connection) -> None:
        """Another connection takes the place of this one."""
        self._before.update(_counts(connection))
        for way, counts in self._causes.items():
            counts.update(connection.by_cause[way])

    def by_cause(
        self, connection: Connection, said: Mapping[str, int], heard: Mapping[str, int]
    ) -> dict[str, dict[str, int]]:
        """Return the IP bytes until now by what they are for, as `wire_sent_by_cause` and for what came.

        `said` and `heard` are the messages' own bytes, of which the connection does not know what they say.
        """
        found = {}
        ways: dict[Direction, Mapping[str, int]] = {"sent": said, "received": heard}
        for way, told in ways.items():
            counts = self._causes[way] + Counter(connection.by_cause[way])
            for cause, among in _AMONG.items():
                # What is still on its way, or came twice, is left with the rest.
                size = min(told.get(cause, 0), counts[among])
                counts[cause] += size
                counts[among] -= size
            found[f"wire_{way}_by_cause"] = {cause: counts[cause] for cause in CAUSES}
        return found

    def total(self, connection: Connection) -> dict[str, int]:
        """Return the counts until now, `connection` being in use."""
        return {name: self._before[name] + count for name, count in _counts(connection).items()}


def _counts(connection: Connection) -> dict[str, int]:
    names = (
        "app_sent", "app_received", "wire_sent", "wire_received", "pieces_expected", "pieces_received",
    )  # fmt: skip
    return {name: getattr(connection, name) for name in names}
