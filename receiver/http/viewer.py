"""One viewer's connection: pictures, sound and figures out, a letter back for what has been shown.

The letters bound what is under way, whatever the network in between would hold: a viewer that is slow, far
away or not looking gets fewer pictures, each of them new. A hidden page sends no letters for pictures, and
then none is made for it. Sound goes to who asks for it; where figures get no letters, it is left out as well.

Whoever sits here (`controls`) may also say what the keys of the window do, and sees himself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict

from aiohttp import WSMsgType, web

from receiver.http.broadcast import Broadcast
from receiver.http.feeds import Feeds
from shared.clock import monotonic
from shared.protocol.limits import RateLimit
from shared.runtime.controls import Controls

FIGURES_SECONDS = 0.25
SILENCE_SECONDS = 20.0
"""Figures come four times per second; who has shown none of them for so long is gone."""
STUCK_SECONDS = 10.0
CLOSE_SECONDS = 2.0
PICTURE, FIGURES, OWN_PICTURE = "p", "f", "s"
UNDER_WAY = {PICTURE: 6, FIGURES: 4, OWN_PICTURE: 2}
"""Six pictures are 0.2 s of video: the full rate up to that round trip."""
HEAR, QUIET = "hear", "quiet"
PRESSES: Mapping[str, Callable[[Controls], None]] = {
    "mute": Controls.toggle_mute,
    "hold": Controls.toggle_hold,
    "self": Controls.toggle_self_view,
    "hang up": Controls.hang_up,
}
PRESSES_PER_SECOND, PRESSES_AT_ONCE = 4.0, 12.0
_LONGEST_WORD = 16

Figures = Callable[[], Mapping[str, object]]


class _Gone(Exception):  # noqa: N818 - not an error: viewers come and go
    """The viewer has left."""


class Viewer:
    """Serves one WebSocket until either side ends it; `controls` where the viewer may use them."""

    def __init__(self, feeds: Feeds, figures: Figures, controls: Controls | None = None) -> None:
        self._feeds = feeds
        self._figures = figures
        self._controls = controls
        self._under_way = dict.fromkeys(UNDER_WAY, 0)
        self._room = {kind: asyncio.Event() for kind in UNDER_WAY}
        self._changed = asyncio.Event()
        self._sound = feeds.sound.queue()
        self._presses = RateLimit(PRESSES_PER_SECOND, PRESSES_AT_ONCE)
        for room in self._room.values():
            room.set()
        self._socket = web.WebSocketResponse(
            compress=False, autoping=False, max_msg_size=_LONGEST_WORD, timeout=CLOSE_SECONDS
        )

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Answer `request`, a WebSocket's opening, and return once the viewer has gone."""
        await self._socket.prepare(request)
        works = [
            self._send_pictures(PICTURE, self._feeds.pictures), self._send_figures(), self._send_sound(),
            self._listen(),
        ]  # fmt: skip
        forget: Callable[[], None] | None = None
        if self._controls is not None:
            works.append(self._send_pictures(OWN_PICTURE, self._feeds.own_pictures))
            loop = asyncio.get_running_loop()
            forget = self._controls.watch(lambda: loop.call_soon_threadsafe(self._changed.set))
        try:
            async with asyncio.TaskGroup() as group:
                for work in works:
                    group.create_task(work)
        except* (_Gone, OSError, TimeoutError):
            pass  # what the network does to a viewer is nobody's failure
        finally:
            self._feeds.sound.end(self._sound)
            if forget is not None:
                forget()
        await self.close()
        return self._socket

    async def close(self) -> None:
        """End the connection, in order where the viewer answers."""
        await self._socket.close(code=1001)

    async def _send_pictures(self, kind: str, feed: Broadcast) -> None:
        while True:
            await self._room[kind].wait()
            picture = await feed.next()
            self._sent(kind)
            await self._send(picture)

    async def _send_sound(self) -> None:
        while True:
            packet = await self._sound.get()
            if self._room[FIGURES].is_set():
                await self._send(packet)

    async def _send(self, data: bytes) -> None:
        async with asyncio.timeout(STUCK_SECONDS):
            await self._socket.send_bytes(data)

    async def _send_figures(self) -> None:
        while True:
            self._changed.clear()
            if self._room[FIGURES].is_set():
                self._sent(FIGURES)
                async with asyncio.timeout(STUCK_SECONDS):
                    await self._socket.send_str(json.dumps(self._message()))
            # What somebody has chosen is shown at once.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FIGURES_SECONDS):
                    await self._changed.wait()

    def _message(self) -> dict[str, object]:
        """Return the figures and, for who may change it, how the controls stand (`Choices`)."""
        figures = dict(self._figures())
        return figures if self._controls is None else {**figures, "controls": asdict(self._controls.choices)}

    async def _listen(self) -> None:
        """Hear what was shown and pressed; raise when the viewer leaves, is silent, or says anything else."""
        while True:
            async with asyncio.timeout(SILENCE_SECONDS):
                message = await self._socket.receive()
            word = str(message.data) if message.type is WSMsgType.TEXT else ""
            if self._under_way.get(word, 0) > 0:
                self._under_way[word] -= 1
                self._look(word)
            elif word not in (HEAR, QUIET, *PRESSES) or not self._presses.allows(monotonic()):
                raise _Gone
            elif word in PRESSES:
                self._press(PRESSES[word])
            else:
                (self._feeds.sound.begin if word == HEAR else self._feeds.sound.end)(self._sound)

    def _press(self, press: Callable[[Controls], None]) -> None:
        if self._controls is None:
            raise _Gone
        press(self._controls)

    def _sent(self, kind: str) -> None:
        self._under_way[kind] += 1
        self._look(kind)

    def _look(self, kind: str) -> None:
        if self._under_way[kind] < UNDER_WAY[kind]:
            self._room[kind].set()
        else:
            self._room[kind].clear()
