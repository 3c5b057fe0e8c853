import asyncio
import os
import signal
import sys
import time

import pytest

from shared.runtime.eventloop import SWITCH_SECONDS, LoopProbe, background_task, on_interrupt, run_async


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("native", [True, False])
def test_ctrl_c_calls_back_on_the_loop(
    number: signal.Signals, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def call() -> str:
        called = asyncio.Event()
        if not native:  # as on Windows
            monkeypatch.setattr(asyncio.SelectorEventLoop, "add_signal_handler", _not_here)
        on_interrupt(called.set)
        os.kill(os.getpid(), number)
        await asyncio.wait_for(called.wait(), 60)
        return "in order"

    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert (run_async(call()) if native else asyncio.run(call())) == "in order"
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)


def _not_here(*_: object) -> None:
    raise NotImplementedError


def test_no_thread_keeps_the_loop_waiting_for_the_interpreter() -> None:
    async def interval() -> float:
        return sys.getswitchinterval()

    assert run_async(interval()) == pytest.approx(SWITCH_SECONDS)


async def test_a_block_of_the_loop_is_measured_and_an_idle_one_is_not() -> None:
    probe = LoopProbe()
    assert probe.to_map() == {"loop_block_ms": 0.0, "loop_block_p99_ms": 0.0}
    async with background_task(probe.run()):
        await asyncio.sleep(0.05)
        time.sleep(0.2)
        await asyncio.sleep(0.05)
    figures = probe.to_map()
    # The probe wakes every 10 ms, so of 200 ms it sees 190 at least.
    assert figures["loop_block_ms"] >= 190
    assert 0 < figures["loop_block_p99_ms"] <= figures["loop_block_ms"]
