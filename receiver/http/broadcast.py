"""The newest picture for everybody who is waiting for one."""

from __future__ import annotations

import asyncio


class Broadcast:
    """Takes pictures from any thread and gives each to whoever waits at that moment; it keeps none.

    Who is still busy with an earlier picture gets a later one: nobody's slowness costs anybody else
    anything. Belongs to the running event loop.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: set[asyncio.Future[bytes]] = set()

    @property
    def wanted(self) -> bool:
        """Whether anybody waits; a picture need not be made otherwise. Safe in any thread."""
        return bool(self._waiting)

    def publish(self, picture: bytes) -> None:
        """Give `picture`, encoded, to all who wait. Safe in any thread."""
        self._loop.call_soon_threadsafe(self._deliver, picture)

    async def next(self) -> bytes:
        """Return the next picture that is published."""
        mine: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting.add(mine)
        try:
            return await mine
        finally:
            self._waiting.discard(mine)

    def _deliver(self, picture: bytes) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(picture)
