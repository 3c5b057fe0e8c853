"""Intake of the sender's keypoint packets: each is decoded in a thread, in the order in which they came."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

from shared.errors import PeerError
from shared.protocol.events import Event, KeypointsArrived
from shared.protocol.receiver_session import ReceiverSession


class KeypointIntake:
    """Decodes packets in `decoding`, one at a time, and reports the outcome to the session."""

    def __init__(self, session: ReceiverSession, decoding: Executor) -> None:
        self._session, self._decoding = session, decoding
        self._taking = asyncio.Lock()

    async def take(self, arrived: KeypointsArrived) -> list[Event]:
        """Take a packet in; return what follows from that."""
        async with self._taking:
            try:
                block = await asyncio.get_running_loop().run_in_executor(self._decoding, arrived.decode)
            except PeerError:
                return self._session.keypoints_broken()
            return self._session.keypoints_decoded(arrived, block)

    async def settled(self) -> None:
        """Return once all packets that have come are taken in."""
        async with self._taking:
            pass
