"""The path that measured calls take: every byte counted on the way, impaired where asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from bench.network.impairment import PathImpairment
from bench.network.lossy_path import ImpairedPath
from shared.errors import KeycastError

_START_SECONDS = 10.0


@contextmanager
def counting_path(target_url: str, impairment: PathImpairment | None, seed: int) -> Iterator[ImpairedPath]:
    """Run a path to `target_url` on a thread of its own while the block lasts, and give it."""
    path = ImpairedPath(target_url, impairment, seed)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="path", daemon=True)
    thread.start()
    try:
        started = asyncio.run_coroutine_threadsafe(path.__aenter__(), loop)
        try:
            started.result(_START_SECONDS)
        except OSError as error:
            raise KeycastError(f"The path to count on cannot be opened: {error.strerror}.") from error
        try:
            yield path
        finally:
            asyncio.run_coroutine_threadsafe(path.__aexit__(), loop).result(_START_SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
