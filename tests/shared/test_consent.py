"""Consent is asked for seldom where it is given, and runs out where it is not."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from aioice import stun

from shared.transport import consent
from tests.integration.world import run_virtually


class Pair:
    """One that answers a check or not, by turns; remembers when it was asked."""

    remote_addr = ("192.0.2.1", 9)

    def __init__(self, answers: list[bool]) -> None:
        self.protocol, self.asked = self, list[float]()
        self._answers = answers

    async def request(
        self, _request: object, addr: tuple[str, int], *, integrity_key: bytes, retransmissions: int
    ) -> None:
        assert (addr, integrity_key, retransmissions) == (self.remote_addr, b"secret", 0)
        self.asked.append(asyncio.get_running_loop().time())
        if self._answers and not self._answers.pop(0):
            await asyncio.sleep(0.5)
            raise stun.TransactionTimeout


def checks(
    answers: list[bool], seconds: float, chance: float, monkeypatch: pytest.MonkeyPatch,
    pieces: Callable[[float], tuple[int, int]] = lambda _: (0, 0),
) -> Any:  # fmt: skip
    """Return the moments of the checks in `seconds`, and when the connection was closed, if it was.

    `pieces` says how many have been sent and have come after so many seconds.
    """
    monkeypatch.setattr(consent, "random", lambda: chance)

    async def story() -> tuple[list[float], float | None]:
        closed, loop = list[float](), asyncio.get_running_loop()

        async def close() -> None:
            closed.append(loop.time() - began)

        pair = Pair(answers)
        connection = SimpleNamespace(
            _nominated={1: pair}, remote_password="secret", close=close, _query_consent_task=None,
            build_request=lambda _pair, nominate: nominate,
        )  # fmt: skip
        began = loop.time()
        task = asyncio.create_task(consent._Consent(connection, lambda: pieces(loop.time() - began)).run())
        await asyncio.wait({task}, timeout=seconds)
        task.cancel()
        return [moment - began for moment in pair.asked], closed[0] if closed else None

    return run_virtually(story(), limit=10_000)


def test_a_path_that_answers_is_asked_every_fourteen_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, closed = checks([], 75, 0.5, monkeypatch)
    assert asked == pytest.approx([5, 10, 15, 29, 43, 57, 71])
    assert closed is None


def test_a_path_that_loses_nothing_is_asked_seldom_from_the_first_answer_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lossless(seconds: float) -> tuple[int, int]:
        return int(seconds), int(seconds)

    def lossy(seconds: float) -> tuple[int, int]:
        return int(seconds), int(seconds * 0.8)

    def few(seconds: float) -> tuple[int, int]:
        return int(seconds / 2), int(seconds / 2)

    assert checks([], 60, 0.5, monkeypatch, lossless)[0] == pytest.approx([5, 19, 33, 47])
    assert checks([], 60, 0.5, monkeypatch, lossy)[0] == pytest.approx([5, 10, 15, 29, 43, 57])
    assert checks([], 60, 0.5, monkeypatch, few)[0] == pytest.approx([5, 10, 15, 29, 43, 57])


@pytest.mark.parametrize("chance", [0.0, 0.999])
def test_no_two_checks_are_closer_than_four_seconds(chance: float, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, _ = checks([True, False] * 20, 300, chance, monkeypatch)
    assert min(after - before for before, after in pairwise(asked)) >= 4


def test_a_lost_check_has_the_next_ones_come_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, closed = checks([True] * 4 + [False], 60, 0.5, monkeypatch)
    assert asked == pytest.approx([5, 10, 15, 29, 43, 48.5, 53.5, 58.5])
    assert closed is None


@pytest.mark.parametrize("before", [0, 1, 6])
@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_consent_runs_out_thirty_seconds_after_it_was_given(
    before: int, chance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, closed = checks([True] * before + [False] * 20, 300, chance, monkeypatch)
    given = asked[before - 1] if before else 0.0
    assert closed is not None
    assert 30 <= closed - given <= 31
    # One lost datagram, or two, end nothing.
    assert len(asked) - before >= 3
    # Not even the last one comes sooner than is allowed.
    assert min(after - earlier for earlier, after in pairwise(asked)) >= 4
