"""Messages that arrived and were not read yet: bounded, in order of arrival, for one reader."""

from __future__ import annotations

import asyncio
from collections import deque

from shared.interfaces import Channel

MAX_KP = 256
"""About a second of the fastest legitimate sender; what is older would be shown too late anyway."""
MAX_CTL = 1024
MAX_VOICE = 64
"""Four seconds of sound."""
_MAX_WAITING: dict[Channel, int] = {"kp": MAX_KP, "ctl": MAX_CTL, "voice": MAX_VOICE}


class Inbox:
    """A queue that never waits on the writing side."""

    def __init__(self) -> None:
        self._messages: deque[tuple[Channel, bytes]] = deque()
        self._counts: dict[Channel, int] = dict.fromkeys(_MAX_WAITING, 0)
        self._changed = asyncio.Event()
        self._closed = False

    def put(self, channel: Channel, data: bytes) -> bool:
        """Take a message in; False where it was dropped, since its channel is full or the inbox closed."""
        if self._closed or self._counts[channel] >= _MAX_WAITING[channel]:
            return False
        self._counts[channel] += 1
        self._messages.append((channel, data))
        self._changed.set()
        return True

    def close(self) -> None:
        """Let the reader have what is left, and None after it."""
        self._closed = True
        self._changed.set()

    async def get(self) -> tuple[Channel, bytes] | None:
        """Wait for the next message; None once the inbox is closed and empty."""
        while not self._messages:
            if self._closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        message = self._messages.popleft()
        self._counts[message[0]] -= 1
        return message
