"""`bench fuzz --transport` for seconds, and that it would notice what it looks for."""

import asyncio
import mmap
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from bench.__main__ import main
from bench.fuzz.fuzz_inputs import Corpus
from bench.fuzz.fuzz_transport import TARGETS, attack
from shared.errors import KeycastError

pytestmark = pytest.mark.slow

INPUTS = {"sctp": 300, "datagrams": 2000, "messages": 1500, "http": 25}


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.mark.parametrize("kind", TARGETS)
async def test_nothing_that_comes_in_fails_or_takes_long(kind: str) -> None:
    outcome = await attack(TARGETS[kind](np.random.default_rng(7)), lambda count: count < INPUTS[kind])
    outcome.check()
    assert outcome.inputs == INPUTS[kind]
    # It gets somewhere: not all is refused in the same way.
    assert len(outcome.seen) > 4


class Listener:
    """Takes everything, in its own way."""

    name = "a listener"
    alive = True

    def __init__(self, way: Callable[[], Awaitable[object]]) -> None:
        self._way = way

    async def renew(self) -> None:
        raise AssertionError("it is alive")

    def input(self) -> bytes:
        return b"hello"

    async def hit(self, data: bytes) -> object:
        assert data == b"hello"
        return await self._way()

    async def close(self) -> None:
        pass


async def broken() -> object:
    raise IndexError("ours")


async def broken_beside() -> object:
    asyncio.get_running_loop().call_soon(dict[str, str]().__getitem__, "nothing")
    return "taken"


async def slow() -> object:
    until = time.thread_time() + 0.06
    while time.thread_time() < until:
        pass
    return "taken"


async def slow_later() -> object:
    asyncio.get_running_loop().call_soon(asyncio.ensure_future, slow())
    return "taken"


KEPT: list[mmap.mmap] = []


async def greedy() -> object:
    # Pages of its own: a process that has freed much would otherwise be given those again, and not grow.
    pages = mmap.mmap(-1, 1_000_000)
    pages.write(b"\1" * len(pages))
    KEPT.append(pages)
    return "taken"


@pytest.mark.parametrize(
    ("way", "count", "sentence"),
    [
        (broken, 1, "68656c6c6f raised IndexError"),
        (broken_beside, 3, "KeyError.*after 68656c6c6f"),
        (slow, 3, "took over 20 ms"),
        (slow_later, 3, "took over 20 ms"),
        (greedy, 300, "memory has grown by"),
    ],
)
async def test_a_fault_is_noticed(way: Callable[[], Awaitable[object]], count: int, sentence: str) -> None:
    with pytest.raises(KeycastError, match=sentence):
        (await attack(Listener(way), lambda done: done < count)).check()
    KEPT.clear()


def test_what_leads_to_something_new_is_kept() -> None:
    corpus = Corpus([b"sound"], np.random.default_rng(0))
    for data, behaviour in ((b"a", 1), (b"b", 1), (b"c", 2)):
        corpus.learn(data, behaviour)
    assert len(corpus) == 3
    inputs = {corpus.next(4) for _ in range(500)}
    assert {b"a", b"c"} <= inputs
    assert max(map(len, inputs)) == 4
    assert len(inputs) > 100


@pytest.mark.parametrize("minutes", ["0", "-1"])
def test_no_time_is_refused(minutes: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fuzz", "--transport", "--minutes", minutes]) == 2
    assert "--minutes must be above 0" in capsys.readouterr().err


def test_the_command_prints_a_line_for_each_kind(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["fuzz", "--transport", "--minutes", "1", "--packets", "50", "--kinds", "sctp", "messages"]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-6] for line in lines if line[:1].isalpha()] == ["chunks", "packets"]
