"""Sends further source pictures; which, and when, `sender.gallery` decides, on a thread of its own."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from dataclasses import dataclass

from sender.gallery import QUALITY, GalleryPolicy, Moments, most_bytes
from shared.keypoints import Floats, Pictures
from shared.media import picture as pictures
from shared.media.squares import scaled
from shared.protocol.sender_session import SenderSession


@dataclass(frozen=True, eq=False)
class _Chosen:
    """An encoded picture for `slot`, and its keypoints (D,)."""

    slot: int
    data: bytes
    keypoints: Floats
    alone: bool


class FurtherPictures:
    """Sends what `policy` proposes through `session`.

    `executor` has one thread, which owns the policy and encodes: neither a frame nor the event loop waits.
    """

    def __init__(self, session: SenderSession, policy: GalleryPolicy, executor: Executor) -> None:
        self._session, self._policy, self._executor = session, policy, executor
        self._moments = Moments(policy.metric)
        self._proposing = False
        self._scene = 0

    async def consider(
        self, number: int, picture: Pictures, keypoints: Floats, now: float, scene: int = 0
    ) -> None:
        """Take in detected frame `number` (S, S, 3) and its keypoints (D,), of `scene`.

        Returns once a picture that it led to is on its way; the session's ticks send it. Frames are taken in
        in the order of the calls, which need not wait for each other.
        """
        loop = asyncio.get_running_loop()
        # One proposal at a time; frames in the meantime are only looked at.
        if self._proposing or not self._session.takes_pictures:
            await loop.run_in_executor(self._executor, self._observe, number, picture, keypoints, scene)
            return
        self._proposing = True
        try:
            spent, size = self._session.tally.picture_wire_bytes, self._session.picture_size
            chosen = await loop.run_in_executor(
                self._executor, self._choose, (number, picture, keypoints, scene), spent, now, size
            )
            # Over a new connection another size may have been agreed on.
            if chosen is None or size != self._session.picture_size:
                return
            if self._session.send_picture(chosen.slot, chosen.data, chosen.alone):
                await loop.run_in_executor(self._executor, self._policy.added, chosen.slot, chosen.keypoints)
        finally:
            self._proposing = False

    def _observe(self, number: int, picture: Pictures, keypoints: Floats, scene: int) -> None:
        if scene != self._scene:
            self._scene = scene
            self._policy.renew()
            self._moments.clear()
        self._policy.observe(number, keypoints)
        self._moments.keep(picture, keypoints)

    def _choose(
        self, seen: tuple[int, Pictures, Floats, int], spent: int, now: float, size: int
    ) -> _Chosen | None:
        self._observe(*seen)
        slot = self._policy.propose(spent, now)
        if slot is None:
            return None
        typical, its_keypoints = self._moments.typical()
        data = pictures.encode_within(scaled(typical, size), QUALITY, most_bytes(size))
        affordable = self._policy.affords(len(data), spent, now)
        return _Chosen(slot, data, its_keypoints, self._policy.alone) if affordable else None
