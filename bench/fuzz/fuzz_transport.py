"""`bench fuzz --transport`: whatever a peer or a stranger may send, against what hears it in a call.

SCTP chunks below a link, datagrams to its ports, control messages, keypoint and sound packets to sessions,
and HTTP requests to a receiver. Each input is a sound one changed at random, or one that led to something new
before, changed again. Nothing may fail but in the way it is meant to; no input may take the event loop long;
and memory stays what it is.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from bench.fuzz.fuzz_inputs import Chance
from bench.fuzz.fuzz_links import DatagramsTarget, SctpTarget
from bench.fuzz.fuzz_sessions import HttpTarget, MessagesTarget
from shared.errors import KeycastError, RequestError
from shared.runtime.eventloop import run_async

TURN_SECONDS = 0.02
"""Of processor time, in one turn of the event loop, for one input."""
MAX_SLOW_SHARE = 1e-4
"""The share of inputs that may take longer: the machine hesitates, too."""
STALL_SECONDS = 0.25
"""One that takes so long is no hesitation."""
MEMORY_BYTES = 50e6
_WARM_UP = 200


class Target(Protocol):
    """Something that listens, whatever it is sent."""

    name: str

    @property
    def alive(self) -> bool:
        """Whether it still listens; where not, `renew` it first."""
        ...

    async def renew(self) -> None:
        """Put another one in its place."""
        ...

    def input(self) -> bytes:
        """Return what to send next."""
        ...

    async def hit(self, data: bytes) -> object:
        """Give it `data`, and return what can be seen of how it took that."""
        ...

    async def close(self) -> None:
        """Release what it holds."""
        ...


TARGETS: dict[str, Callable[[Chance], Target]] = {
    "sctp": SctpTarget,
    "datagrams": DatagramsTarget,
    "messages": MessagesTarget,
    "http": HttpTarget,
}


@dataclass
class Outcome:
    """Of one kind of input: how many, how long they took, and what became of them."""

    name: str
    inputs: int = 0
    slow: int = 0
    slowest: float = 0.0
    slowest_input: bytes = b""
    renewed: int = 0
    grown: float = 0.0
    seen: Counter[str] = field(default_factory=Counter)

    def check(self) -> None:
        """Raise KeycastError where a bound was passed."""
        if self.slowest > STALL_SECONDS or self.slow > 1 + MAX_SLOW_SHARE * self.inputs:
            raise KeycastError(
                f"{self.name}: {self.slow} of {self.inputs} inputs took over {1000 * TURN_SECONDS:.0f} ms, "
                f"the slowest {1000 * self.slowest:.0f} ms: {self.slowest_input.hex()}"
            )
        if self.grown > MEMORY_BYTES:
            raise KeycastError(f"{self.name}: memory has grown by {self.grown / 1e6:.0f} MB.")

    def line(self) -> str:
        """Return the outcome as a line of the table."""
        return (
            f"{self.name:24} {self.inputs:9} {self.renewed:9} {self.slow:8} {1000 * self.slowest:9.1f} "
            f"{self.grown / 1e6:7.1f}"
        )


HEADER = f"{'':24} {'inputs':>9} {'ended it':>9} {'> 20 ms':>8} {'worst, ms':>9} {'MB more':>7}"


class _Turns:
    """Measures the turns of the event loop while `on`: processor seconds of this thread."""

    def __init__(self) -> None:
        self.on = False
        self.longest = 0.0

    async def run(self) -> None:
        while True:
            began = time.thread_time()
            await asyncio.sleep(0)
            if self.on:
                self.longest = max(self.longest, time.thread_time() - began)


@asynccontextmanager
async def _turns() -> AsyncIterator[_Turns]:
    turns = _Turns()
    task = asyncio.create_task(turns.run())
    try:
        yield turns
    finally:
        task.cancel()


async def attack(target: Target, goes_on: Callable[[int], bool]) -> Outcome:
    """Send inputs to `target` while `goes_on`, given how many there were, says so.

    Raise KeycastError where something failed in a way that it is not meant to.
    """
    outcome, faults = Outcome(target.name), list[str]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(
        lambda _, context: faults.append(f"{context['message']}: {context.get('exception')!r}")
    )
    start = 0
    async with _turns() as turns:
        while goes_on(outcome.inputs):
            if not target.alive:
                outcome.renewed += 1
                await target.renew()
            data = target.input()
            await _hit(target, data, turns, outcome)
            if faults:
                raise KeycastError(f"{target.name}: {faults[0]}, after {data.hex()}")
            if outcome.inputs == _WARM_UP:
                start = _resident()
        await target.close()
    outcome.grown = max(0, _resident() - start) if start else 0.0
    return outcome


async def _hit(target: Target, data: bytes, turns: _Turns, outcome: Outcome) -> None:
    await asyncio.sleep(0)
    turns.longest, turns.on = 0.0, True
    try:
        seen = await target.hit(data)
    except Exception as error:
        raise KeycastError(f"{target.name}: {data.hex()} raised {error!r}") from error
    await asyncio.sleep(0)
    turns.on = False
    outcome.inputs += 1
    outcome.seen[str(seen)] += 1
    outcome.slow += turns.longest > TURN_SECONDS
    if turns.longest > outcome.slowest:
        outcome.slowest, outcome.slowest_input = turns.longest, data


def _resident() -> int:
    """Return the resident memory of this process in bytes; 0 where the system does not report it."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return 0
    gc.collect()
    return int(statm.read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `--transport`."""
    parser.add_argument("--transport", action="store_true", help="attack the transport, sessions and HTTP")
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="with --transport: total duration (default 10)"
    )
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=list(TARGETS),
        default=list(TARGETS),
        help="with --transport: kinds of input",
    )


def run(options: argparse.Namespace) -> int:
    """Attack each kind of target for its share of the time, and print a table. Returns the exit code."""
    if not options.minutes > 0:
        raise RequestError(f"--minutes must be above 0, not {options.minutes:g}.")
    run_async(_campaign(options.kinds, 60 * options.minutes, options.packets, options.seed))
    return 0


async def _campaign(kinds: list[str], seconds: float, most: int, seed: int) -> None:
    # What was loaded until now is not gone through again and again in the middle of a turn.
    gc.freeze()
    try:
        await _all(kinds, seconds, most, seed)
    finally:
        gc.unfreeze()


async def _all(kinds: list[str], seconds: float, most: int, seed: int) -> None:
    print(HEADER)
    for kind in kinds:
        until = time.monotonic() + seconds / len(kinds)
        chance = np.random.default_rng([seed, *kind.encode()])
        outcome = await attack(TARGETS[kind](chance), _until(most, until))
        print(outcome.line())
        for seen, count in outcome.seen.most_common(6):
            print(f"    {count:9}  {seen[:90] or 'taken'}")
        outcome.check()


def _until(most: int, moment: float) -> Callable[[int], bool]:
    return lambda count: count < most and time.monotonic() < moment
