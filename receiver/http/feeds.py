"""Live feeds for viewers of the page: the call's pictures and sound, and pictures of oneself."""

from __future__ import annotations

import asyncio

from receiver.http.broadcast import Broadcast

_MAX_WAITING = 25
"""Packets of 20 ms. Who is so far behind gets the newest, and half a second is missing."""


class SoundFeed:
    """Takes packets of sound from any thread and gives each to all who listen, in order.

    Belongs to the running event loop.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._listeners: set[asyncio.Queue[bytes]] = set()

    @property
    def wanted(self) -> bool:
        """Whether anybody listens. Safe in any thread."""
        return bool(self._listeners)

    def publish(self, data: bytes) -> None:
        """Give `data` to all who listen. Safe in any thread."""
        self._loop.call_soon_threadsafe(self._deliver, data)

    @staticmethod
    def queue() -> asyncio.Queue[bytes]:
        """Return what a listener gets packets through."""
        return asyncio.Queue(_MAX_WAITING)

    def begin(self, listener: asyncio.Queue[bytes]) -> None:
        """Have `listener` get what is published from now on."""
        self._listeners.add(listener)

    def end(self, listener: asyncio.Queue[bytes]) -> None:
        """Give it no more. Safe to call again."""
        self._listeners.discard(listener)

    def _deliver(self, data: bytes) -> None:
        for listener in self._listeners:
            if listener.full():
                listener.get_nowait()
            listener.put_nowait(data)


class Feeds:
    """All feeds of one page. Belongs to the running event loop."""

    def __init__(self) -> None:
        self.pictures = Broadcast()
        self.sound = SoundFeed()
        self.own_pictures = Broadcast()
        """Of who sits here; for nobody else."""
