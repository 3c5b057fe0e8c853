"""Replies of the answering end, in virtual time: slow and broken sources, connections that are lost."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from bench.network.memory_link import LoopbackConnection, pair
from models.lite.layout import DIMENSIONS
from receiver.service import Place
from receiver.sinks.self_view import SelfView
from receiver.two_way import Replies, Reply
from sender.outgoing import Encoded, Media, Outgoing
from sender.pipeline import SenderCall
from sender.schedule import Alternate, Redundancy
from shared.codec.keypoint_codec import PaperCodec
from shared.errors import RequestError
from shared.protocol.events import Ended
from shared.protocol.message_format import pack_message, parse_message
from shared.protocol.messages import Bye, Hello, Message
from shared.protocol.receiver_session import ReceiverSession
from shared.protocol.sender_session import SenderSession
from shared.runtime.controls import Controls
from tests.integration.world import (
    CODECS,
    PICTURE,
    TERMS,
    Backbone,
    FakeClock,
    Source,
    VirtualExecutor,
    run_virtually,
)

Story = Callable[["Studio"], Any]


class Studio(Replies):
    """Sends a `source` that takes `opening` seconds to open, or fails with `fault`."""

    def __init__(self, opening: float = 0.0, fault: Exception | None = None) -> None:
        self.opening, self.fault = opening, fault
        self.source = Source(10**6)
        self.controls, self.notes, self.closed = Controls(), [], 0
        self.outgoing = cast(Outgoing, self)
        self.place = cast(Place, self)
        self.console = self
        self.stage = SimpleNamespace(self_view=SelfView(self.controls))
        self.backbone = Backbone()

    notes: list[str]

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Media]:
        await asyncio.sleep(self.opening)
        if self.fault is not None:
            raise self.fault
        try:
            yield Media(self.source, np.zeros((256, 256, 3), np.uint8), None)
        finally:
            self.closed += 1

    async def encoded(self, _: Media) -> Encoded:
        return Encoded(PICTURE, None)

    def call(self, connection: Any, media: Media, encoded: Encoded, again: Any, **named: Any) -> SenderCall:
        return SenderCall(
            connection=connection,
            session=SenderSession(TERMS, PaperCodec(DIMENSIONS), encoded.picture),
            source=media.source,
            backbone=self.backbone,
            make_scheduler=lambda _: Alternate(TERMS.schedule, 3),
            redundancy=Redundancy(0),
            clock=FakeClock(),
            inference=VirtualExecutor(0.004),
            again=again,
            controls=named["controls"],
        )


async def first_word(lane: LoopbackConnection) -> Message:
    heard = await asyncio.wait_for(lane.recv(), 60)
    assert heard is not None
    assert heard[0] == "ctl"
    return parse_message(heard[1])


async def watch(lane: LoopbackConnection) -> None:
    """Take what is sent over `lane`, up to streaming, and then say nothing more but that all is well."""
    session = ReceiverSession(TERMS, CODECS, avatar=True)
    while (message := await lane.recv()) is not None:
        if message[0] == "ctl":
            session.receive_ctl(message[1], 0.0)
            for said in session.outgoing():
                lane.send_ctl(said)


def test_a_source_that_opens_while_the_connection_is_lost_is_sent_over_the_next_one() -> None:
    async def story() -> None:
        studio, (left, right), (later, here) = Studio(opening=10.0), pair(), pair()
        reply = Reply(studio, left)
        await asyncio.sleep(3.0)
        right.cut()
        await asyncio.sleep(3.0)
        reply.resume(later)
        assert isinstance(await first_word(here), Hello)
        await reply.close()
        assert studio.closed == 1

    run_virtually(story())


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.5, 5.0])
def test_a_connection_lost_in_set_up_has_the_next_one_begin_anew(seconds: float) -> None:
    async def story() -> None:
        studio, (left, right), (later, here) = Studio(), pair(), pair()
        reply = Reply(studio, left)
        assert isinstance(await first_word(right), Hello)
        right.cut()
        await asyncio.sleep(seconds)
        reply.resume(later)
        assert isinstance(await first_word(here), Hello)
        await reply.close()

    run_virtually(story())


def test_who_hangs_up_between_two_attempts_opens_nothing_any_more() -> None:
    async def story() -> None:
        studio, (left, right), (later, here) = Studio(opening=5.0), pair(), pair()
        reply = Reply(studio, left)
        assert isinstance(await first_word(right), Hello)
        right.cut()
        await asyncio.sleep(0.5)
        reply.resume(later)
        await asyncio.sleep(1.0)
        reply.end("Enough.")
        await reply.finish(Ended("Enough.", ok=True))
        await reply.close()
        assert await here.recv() is None

    run_virtually(story())


@pytest.mark.parametrize("fault", [RequestError("There is no camera."), OSError("the bus broke\nhere")])
def test_a_source_that_cannot_be_opened_is_told_on_both_sides(fault: Exception) -> None:
    troubles: list[object] = []

    async def story() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, trouble: troubles.append(trouble))
        studio, (left, right) = Studio(opening=1.0, fault=fault), pair()
        reply = Reply(studio, left)
        word = await first_word(right)
        assert isinstance(word, Bye)
        assert not word.ok
        (note,) = studio.notes
        assert note.startswith("nothing more is sent to the other side: ")
        assert "\n" not in note
        await reply.close()

    run_virtually(story())
    assert troubles == []


def test_a_reply_that_is_refused_is_told_here_and_not_begun_again() -> None:
    async def story() -> None:
        studio, (left, right) = Studio(), pair()
        reply = Reply(studio, left)
        assert isinstance(await first_word(right), Hello)
        right.send_ctl(pack_message(Bye("It shows nobody.", ok=False)))
        await asyncio.sleep(1.0)
        assert studio.notes == ["nothing more is sent to the other side: It shows nobody."]
        assert not reply.is_lively
        await reply.close()

    run_virtually(story())


def test_a_status_line_says_how_sending_goes() -> None:
    async def story() -> None:
        studio, (left, right) = Studio(opening=1.0), pair()
        reply = Reply(studio, left)
        assert reply.status() == []
        watching = asyncio.create_task(watch(right))
        await asyncio.sleep(3.0)
        assert "".join(text for text, _ in reply.status()) == "  sending: live"
        studio.controls.toggle_hold()
        await asyncio.sleep(0.5)
        assert ("on hold", "yellow") in reply.status()
        await reply.close()
        await right.close()
        await watching

    run_virtually(story())


@pytest.mark.parametrize("held", [False, True])
def test_a_caller_whose_video_has_ended_goes_on_seeing_who_is_there(held: bool) -> None:
    async def story() -> None:
        studio, (left, right) = Studio(), pair()
        reply = Reply(studio, left)
        watching = asyncio.create_task(watch(right))
        await asyncio.sleep(2.0)
        if held:
            studio.controls.toggle_hold()
        finishing = asyncio.create_task(reply.finish(Ended("The video has ended.", ok=True)))
        await asyncio.sleep(1.0)
        assert reply.live() is not None
        assert reply.is_lively
        assert not finishing.done()
        reply.end("Enough.")
        await finishing
        assert not reply.is_lively
        await reply.close()
        await right.close()
        await watching

    run_virtually(story())
