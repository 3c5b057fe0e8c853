"""The event loop the commands run on, uvloop where it exists, and Ctrl-C on it."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from shared.runtime.memory import limit_arenas
from shared.runtime.stats import Reservoir

Result = TypeVar("Result")
PROBE_SECONDS = 0.01
SWITCH_SECONDS = 0.0005
"""By default a thread may keep the interpreter for 5 ms, and several in turn; a packet waits for them all."""


class LoopProbe:
    """Measures how long due work waits in the event loop: what computes on it delays every packet and frame.

    Wakes every 10 ms and takes note of how late that is. Time in which the process gets no processor, or a
    thread of its own holds the interpreter, counts as well: to a packet it is the same.
    """

    def __init__(self) -> None:
        self._late_ms = Reservoir()
        self._longest_ms = 0.0

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            due = time.perf_counter() + PROBE_SECONDS
            await asyncio.sleep(PROBE_SECONDS)
            late_ms = 1000 * max(0.0, time.perf_counter() - due)
            self._late_ms.add(late_ms)
            self._longest_ms = max(self._longest_ms, late_ms)

    def to_map(self) -> dict[str, float]:
        """Return the longest block and the 99th percentile, in ms; zeros before the first 10 ms."""
        return {"loop_block_ms": self._longest_ms, "loop_block_p99_ms": self._late_ms.percentiles().p99}


def run_async(work: Coroutine[Any, Any, Result]) -> Result:
    """Run `work` to its end on a fresh event loop and return its result.

    Threads that compute let the loop have the interpreter after `SWITCH_SECONDS`, and share their memory.
    """
    limit_arenas()
    sys.setswitchinterval(SWITCH_SECONDS)
    if sys.platform == "win32":
        return asyncio.run(work)
    import uvloop

    return uvloop.run(work)


@asynccontextmanager
async def background_task(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` while the block runs, and cancel it then; where it failed, its error is raised."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def on_interrupt(callback: Callable[[], None]) -> None:
    """Have the running event loop call `callback` at Ctrl-C (SIGINT) and SIGTERM, in place of stopping."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, callback)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(callback))
