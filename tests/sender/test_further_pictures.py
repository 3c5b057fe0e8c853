"""Further pictures: chosen and encoded by a thread of their own, one at a time, in the frames' order."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np
import pytest

from models.lite.layout import DIMENSIONS, LAYOUT
from sender.further_pictures import FurtherPictures
from sender.gallery import GalleryOptions, GalleryPolicy
from shared.codec.keypoint_codec import PaperCodec
from shared.constants import FPS, CallTerms
from shared.keypoints import Floats
from shared.media import picture as pictures
from shared.protocol.events import State
from shared.protocol.receiver_session import ReceiverSession
from shared.protocol.sender_session import SenderSession
from tests.shared.session_pair import with_pictures

FIRST, SECOND = (np.full((256, 256, 3), level, np.uint8) for level in (50, 200))
RANDOM = np.random.default_rng(0)
TERMS = CallTerms("lite", "abc", LAYOUT.keypoints, DIMENSIONS)


def at(position: float) -> Floats:
    return (position + 1e-4 * RANDOM.standard_normal(DIMENSIONS)).astype(np.float32)


class Held(Executor):
    """One thread that can be held up: what it is given meanwhile is done later, in order."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.held = False

    def submit(self, fn: Any, /, *args: Any, **_: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append(lambda: future.set_result(fn(*args)))
        if not self.held:
            self.work()
        return future

    def work(self) -> None:
        self.held = False
        while self.waiting:
            self.waiting.pop(0)()


class Call:
    """A sender that streams to a receiver; `slots` are those whose pictures have come."""

    def __init__(self) -> None:
        self.sender = SenderSession(TERMS, PaperCodec(DIMENSIONS), pictures.encode(FIRST))
        self.receiver = ReceiverSession(TERMS, {"paper": PaperCodec(DIMENSIONS)})
        self.slots: list[int] = []
        self.sender.start()
        self.settle(0.0)
        assert self.sender.state is State.STREAMING

    def settle(self, now: float) -> None:
        self.sender.tick(now)
        while up := self.sender.outgoing():
            for data in up:
                events = with_pictures(self.receiver, self.receiver.receive_ctl(data, now), now)
                self.slots.extend(event.slot for event in events if hasattr(event, "slot"))
            for data in self.receiver.outgoing():
                self.sender.receive_ctl(data, now)


async def test_pictures_are_encoded_elsewhere_and_sent_one_at_a_time() -> None:
    call, executor = Call(), Held()
    further = FurtherPictures(
        call.sender, GalleryPolicy(GalleryOptions(4, 100.0), 1000, LAYOUT.distance), executor
    )
    async with asyncio.TaskGroup() as group:
        for number in range(240):
            turned = number >= 60
            frame = SECOND if turned else FIRST, at(1.0 if turned else 0.0)
            executor.held = 60 <= number < 120
            if number == 120:
                # Nothing was sent, and no frame has waited.
                assert len(executor.waiting) == 60
                assert call.slots == [0]
                executor.work()
            group.create_task(further.consider(number, *frame, number / FPS))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            call.settle(number / FPS)
    assert call.slots == [0, 1]
    assert call.sender.tally.pictures == 2


async def test_what_fails_while_a_picture_is_encoded_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(pictures, "encode_within", broken)
    call = Call()
    further = FurtherPictures(
        call.sender, GalleryPolicy(GalleryOptions(4, 100.0), 1000, LAYOUT.distance), Held()
    )

    async def turn() -> None:
        for number in range(240):
            await further.consider(number, SECOND, at(float(number >= 60)), number / FPS)

    with pytest.raises(MemoryError):
        await turn()
