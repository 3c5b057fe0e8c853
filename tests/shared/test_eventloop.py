import asyncio
import os
import signal

import pytest

from shared.eventloop import on_interrupt, run_async


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
        await asyncio.wait_for(called.wait(), 5)
        return "in order"

    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert (run_async(call()) if native else asyncio.run(call())) == "in order"
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)


def _not_here(*_: object) -> None:
    raise NotImplementedError
