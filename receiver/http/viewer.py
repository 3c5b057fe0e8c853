"""One viewer's connection: pictures and figures out, a letter back for each that has been shown.

The letters bound what is under way, whatever the network in between would hold: a viewer that is slow, far
away or not looking gets fewer pictures, each of them new. A hidden page sends no letters for pictures, and
then none is made for it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping

from aiohttp import WSMsgType, web

from receiver.http.broadcast import Broadcast

FIGURES_SECONDS = 0.25
SILENCE_SECONDS = 20.0
"""Figures come four times per second; who has shown none of them for so long is gone."""
STUCK_SECONDS = 10.0
CLOSE_SECONDS = 2.0
PICTURE, FIGURES = "p", "f"
UNDER_WAY = {PICTURE: 6, FIGURES: 4}
"""Six pictures are 0.2 s of video: the full rate up to that round trip."""
_LONGEST_WORD = 16

Figures = Callable[[], Mapping[str, object]]


class _Gone(Exception):  # noqa: N818 - not an error: viewers come and go
    """The viewer has left."""


class Viewer:
    """Serves one WebSocket until either side ends it."""

    def __init__(self, pictures: Broadcast, figures: Figures) -> None:
        self._pictures = pictures
        self._figures = figures
        self._under_way = dict.fromkeys(UNDER_WAY, 0)
        self._room = asyncio.Event()
        self._room.set()
        self._socket = web.WebSocketResponse(
            compress=False, autoping=False, max_msg_size=_LONGEST_WORD, timeout=CLOSE_SECONDS
        )

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Answer `request`, a WebSocket's opening, and return once the viewer has gone."""
        await self._socket.prepare(request)
        try:
            async with asyncio.TaskGroup() as group:
                for work in (self._send_pictures(), self._send_figures(), self._listen()):
                    group.create_task(work)
        except* (_Gone, OSError, TimeoutError):
            pass  # what the network does to a viewer is nobody's failure
        await self.close()
        return self._socket

    async def close(self) -> None:
        """End the connection, in order where the viewer answers."""
        await self._socket.close(code=1001)

    async def _send_pictures(self) -> None:
        while True:
            await self._room.wait()
            picture = await self._pictures.next()
            self._sent(PICTURE)
            async with asyncio.timeout(STUCK_SECONDS):
                await self._socket.send_bytes(picture)

    async def _send_figures(self) -> None:
        while True:
            if self._under_way[FIGURES] < UNDER_WAY[FIGURES]:
                self._sent(FIGURES)
                async with asyncio.timeout(STUCK_SECONDS):
                    await self._socket.send_str(json.dumps(dict(self._figures())))
            await asyncio.sleep(FIGURES_SECONDS)

    async def _listen(self) -> None:
        """Hear what has been shown; raise when the viewer leaves, is silent, or says anything else."""
        while True:
            async with asyncio.timeout(SILENCE_SECONDS):
                message = await self._socket.receive()
            shown = str(message.data) if message.type is WSMsgType.TEXT else ""
            if self._under_way.get(shown, 0) < 1:
                raise _Gone
            self._under_way[shown] -= 1
            self._look()

    def _sent(self, kind: str) -> None:
        self._under_way[kind] += 1
        self._look()

    def _look(self) -> None:
        if self._under_way[PICTURE] < UNDER_WAY[PICTURE]:
            self._room.set()
        else:
            self._room.clear()
