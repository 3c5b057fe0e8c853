"""The phases of a call under every order of what may happen, and the waits between attempts."""

import math
import random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from shared.protocol.liveness import (
    LONGEST_DELAY,
    LOST_SECONDS,
    SETUP_SECONDS,
    STALL_SECONDS,
    Backoff,
    Liveness,
    Phase,
)


def linked(give_up: float = math.inf) -> Liveness:
    liveness = Liveness(0.0, give_up)
    liveness.linked(0.0)
    return liveness


def test_silence_stalls_a_call_then_loses_the_connection() -> None:
    liveness = linked()
    assert liveness.tick(STALL_SECONDS - 0.01) is Phase.LIVELY
    assert liveness.tick(STALL_SECONDS) is Phase.STALLED
    assert liveness.tick(LOST_SECONDS - 0.01) is Phase.STALLED
    assert liveness.tick(LOST_SECONDS) is Phase.AWAY


def test_a_word_in_time_heals_a_stall_and_none_heals_a_lost_connection() -> None:
    liveness = linked()
    liveness.tick(3.0)
    liveness.heard(3.0)
    assert liveness.tick(4.9) is Phase.LIVELY
    assert liveness.tick(3.0 + LOST_SECONDS) is Phase.AWAY
    liveness.heard(9.0)
    assert liveness.tick(9.0) is Phase.AWAY


def test_before_a_call_is_set_up_silence_is_no_loss() -> None:
    liveness = Liveness(0.0, give_up=10.0)
    assert liveness.tick(STALL_SECONDS) is Phase.STALLED
    assert liveness.tick(1000.0) is Phase.STALLED
    liveness.linked(1000.0)
    assert liveness.tick(1000.0) is Phase.LIVELY


def test_an_attempt_that_takes_too_long_has_failed_and_another_may_succeed() -> None:
    liveness = linked()
    liveness.lost(1.0)
    liveness.tries(2.0)
    assert liveness.tick(2.0 + SETUP_SECONDS - 0.01) is Phase.TRYING
    liveness.tries(9.0, 40.0)  # it has got further
    assert liveness.tick(48.9) is Phase.TRYING
    assert liveness.tick(49.0) is Phase.AWAY
    liveness.tries(50.0)
    liveness.failed()
    assert liveness.phase is Phase.AWAY
    liveness.tries(51.0)
    liveness.linked(52.0)
    assert (liveness.phase, liveness.links) == (Phase.LIVELY, 2)


def test_it_is_over_when_no_attempt_has_succeeded_for_long_enough() -> None:
    liveness = linked(give_up=20.0)
    liveness.lost(1.0)
    liveness.tries(15.0)
    liveness.failed()
    liveness.lost(16.0)  # of an attempt: the time counts from the first loss
    assert liveness.tick(20.9) is Phase.AWAY
    assert liveness.tick(21.0) is Phase.OVER
    liveness.linked(22.0)
    assert liveness.tick(22.0) is Phase.OVER


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order, a phase says what is true of the call."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.liveness = Liveness(0.0, give_up=30.0)
        self.last_word = 0.0
        self.was_over = False

    @rule(seconds=st.floats(0.0, 12.0))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.liveness.tick(self.now)

    @rule()
    def hear(self) -> None:
        self.last_word = self.now
        self.liveness.heard(self.now)

    @rule()
    def link(self) -> None:
        self.last_word = self.now
        self.liveness.linked(self.now)

    @rule()
    def lose(self) -> None:
        self.liveness.lost(self.now)

    @rule()
    def attempt(self) -> None:
        self.liveness.tries(self.now)

    @rule()
    def fail(self) -> None:
        self.liveness.failed()

    @invariant()
    def phases_are_true(self) -> None:
        phase = self.liveness.tick(self.now)
        if self.was_over:
            assert phase is Phase.OVER
        self.was_over = phase is Phase.OVER
        if phase is Phase.LIVELY:
            assert self.now - self.last_word < STALL_SECONDS
        if phase is Phase.STALLED:
            assert self.now - self.last_word < LOST_SECONDS or not self.liveness.links


TestAnyOrder = AnyOrder.TestCase


def test_waits_grow_to_a_limit_and_are_spread() -> None:
    low, high = Backoff(lambda: 0.0), Backoff(lambda: 0.999999)
    least, most = [low.next() for _ in range(12)], [high.next() for _ in range(12)]
    assert most == pytest.approx([2 * wait for wait in least], rel=1e-4)
    assert most == sorted(most)
    assert most[0] == pytest.approx(0.4, rel=1e-4)
    assert most[-1] == pytest.approx(LONGEST_DELAY, rel=1e-4)
    high.reset()
    assert high.next() == pytest.approx(0.4, rel=1e-4)
    spread = {Backoff(random.Random(seed).random).next() for seed in range(20)}
    assert len(spread) == 20
