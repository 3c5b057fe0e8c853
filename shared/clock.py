"""The one place that reads a clock. Everything else takes `now`, or a `Clock`."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

WALL_MODULUS = 2**32
# Linux and macOS stop `time.monotonic` while the machine sleeps; the other side's frames go on meanwhile.
_RUNNING = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def monotonic() -> float:
    """Return seconds that never go back; those in which the machine slept count."""
    return time.monotonic() if _RUNNING is None else time.clock_gettime(_RUNNING)


class Clock(Protocol):
    """Time as a call sees it. Faked in tests."""

    def now(self) -> float:
        """Return monotonic seconds."""
        ...

    def wall_ms(self) -> int:
        """Return the wall clock in milliseconds modulo 2**32, comparable between machines."""
        ...

    async def sleep_until(self, deadline: float) -> None:
        """Return when `now()` has reached `deadline`; at once, but after one turn, when it has passed."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        """Return monotonic seconds, those of the machine's sleep among them."""
        return monotonic()

    def wall_ms(self) -> int:
        """Return the wall clock in milliseconds modulo 2**32."""
        return time.time_ns() // 1_000_000 % WALL_MODULUS

    async def sleep_until(self, deadline: float) -> None:
        """Sleep until `now()` has reached `deadline`."""
        await asyncio.sleep(max(0.0, deadline - self.now()))
        while self.now() < deadline:
            await asyncio.sleep(0)


def elapsed_ms(later: int, earlier: int) -> int:
    """Return `later - earlier`, both modulo 2**32, as a signed difference in [-2**31, 2**31)."""
    half = WALL_MODULUS // 2
    return (later - earlier + half) % WALL_MODULUS - half
