"""Intake of the sender's pictures: each is decoded and encoded by the thread that owns the networks."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

from receiver.renderer import Renderer
from shared.clock import Clock
from shared.errors import PeerError
from shared.media import picture as pictures
from shared.protocol.events import Event, SourcePicture, State
from shared.protocol.receiver_session import ReceiverSession


class SourcePictures:
    """Puts pictures into their slots of `renderer`, one at a time, in the order in which they came."""

    def __init__(
        self, session: ReceiverSession, renderer: Renderer, clock: Clock, inference: Executor
    ) -> None:
        self._session, self._renderer = session, renderer
        self._clock, self._inference = clock, inference
        self._taking = asyncio.Lock()

    async def take(self, source: SourcePicture) -> list[Event]:
        """Take a picture in, and report the outcome to the session; return what follows from that."""
        async with self._taking:
            if self._session.state is State.ENDED:
                return []
            try:
                await asyncio.get_running_loop().run_in_executor(self._inference, self._set, source)
            except PeerError as error:
                return self._session.picture_broken(source, str(error))
            return self._session.picture_taken(source, self._clock.now())

    def _set(self, source: SourcePicture) -> None:
        # Not on the event loop: to decode a picture that is made for it takes over 20 ms.
        picture = pictures.decode(source.data, self._session.picture_size)
        self._renderer.set_source(picture, source.slot, source.alone)
