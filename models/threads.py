"""Number of CPU threads the networks of this process take, whichever engine runs them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Threads:
    chosen: int | None = None


def use_threads(count: int) -> None:
    """Let the networks that are loaded from now on use `count` CPU threads, in this process."""
    _Threads.chosen = count
    apply_to_torch()


def threads() -> int | None:
    """Return the number chosen; None where it is left to the engine."""
    return _Threads.chosen


def apply_to_torch() -> None:
    """Tell torch the number chosen, where torch is loaded; whoever loads it later calls this again."""
    torch = sys.modules.get("torch")
    if torch is not None and _Threads.chosen is not None:
        torch.set_num_threads(_Threads.chosen)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let the networks use one CPU thread in the block, and as many as before after it."""
    torch = sys.modules.get("torch")
    before, torch_before = _Threads.chosen, torch.get_num_threads() if torch is not None else None
    use_threads(1)
    try:
        yield
    finally:
        _Threads.chosen = before
        if torch is not None:
            torch.set_num_threads(torch_before)
