"""A sender whose pictures are costly or broken, against a receiver whose loop and threads are real."""

import asyncio
import io
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image, features

from bench.network.memory_link import LoopbackConnection, pair
from models.forecast.baselines import Hold
from models.lite.layout import LAYOUT
from receiver.pipeline import ReceiverCall
from receiver.playout import Playout
from receiver.renderer import Renderer
from shared.clock import SystemClock
from shared.concealment import Concealer
from shared.constants import FPS, MAX_PICTURE_BYTES, PICTURE_CHUNK
from shared.keypoints import Pictures
from shared.media import avif
from shared.media import picture as pictures
from shared.protocol.message_format import pack_message, parse_message
from shared.protocol.messages import Bye, Hello, Message, Ready, SourceChunk, Want
from shared.protocol.receiver_session import MAX_BAD_PICTURES, MAX_WAITING_PICTURES, ReceiverSession
from tests.integration.world import CODECS, TERMS, Backbone, Sink

pytestmark = pytest.mark.slow

CALLS = 40
"""At most: on a quiet machine the first one shows it."""
GOOD, JUNK = pictures.encode(np.full((256, 256, 3), 90, np.uint8)), b"junk"


def costly() -> bytes:
    """The most that a picture may hold: noise, with every pixel's colours."""
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "AVIF", quality=100, subsampling="4:4:4", speed=8)
    data = avif.unwrap(out.getvalue(), 256)
    assert 0.9 * MAX_PICTURE_BYTES < len(data) <= MAX_PICTURE_BYTES
    return data


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """When each picture began and ended to be decoded."""
    spans: list[tuple[float, float]] = []
    decode = pictures.decode

    def watched(data: bytes, size: int) -> Pictures:
        began = time.perf_counter()
        try:
            return decode(data, size)
        finally:
            spans.append((began, time.perf_counter()))

    monkeypatch.setattr(pictures, "decode", watched)
    return spans


@asynccontextmanager
async def turns() -> AsyncIterator[list[float]]:
    """The moments at which the event loop has turned while the block runs."""
    moments: list[float] = []

    async def turn() -> None:
        while True:
            moments.append(time.perf_counter())
            await asyncio.sleep(0)

    task = asyncio.create_task(turn())
    try:
        yield moments
    finally:
        task.cancel()


def longest_share(span: tuple[float, float], moments: list[float]) -> float:
    """Return for how much of `span` the loop did not turn, at the longest."""
    inside = [span[0], *(moment for moment in moments if span[0] < moment < span[1]), span[1]]
    return float(np.diff(inside).max()) / (span[1] - span[0])


def chunks(number: int, slot: int, data: bytes) -> Iterator[SourceChunk]:
    for offset in range(0, len(data), PICTURE_CHUNK):
        yield SourceChunk(number, slot, len(data), offset, data[offset : offset + PICTURE_CHUNK])


@dataclass
class Attack:
    """A sender of our own making in a call with a real receiver."""

    link: LoopbackConnection
    backbone: Backbone
    inference: ThreadPoolExecutor

    async def send(self, number: int, slot: int, data: bytes) -> None:
        for chunk in chunks(number, slot, data):
            self.link.send_ctl(pack_message(chunk))
            # One message a turn of the loop, as over a network.
            await asyncio.sleep(0)

    async def answer(self) -> Message:
        """Return what the receiver says next of pictures, or for GOOD."""
        while True:
            received = await asyncio.wait_for(self.link.recv(), 20)
            assert received is not None
            message = parse_message(received[1])
            if isinstance(message, (Ready, Want, Bye)):
                return message


@asynccontextmanager
async def attack() -> AsyncIterator[Attack]:
    left, right = pair()
    backbone = Backbone()
    with ThreadPoolExecutor(1) as inference, ThreadPoolExecutor(1) as output:
        call = ReceiverCall(
            connection=right,
            session=ReceiverSession(TERMS, CODECS),
            renderer=Renderer(backbone, Concealer(Hold(), LAYOUT)),
            sink=Sink(),
            playout=Playout(FPS),
            clock=SystemClock(),
            inference=inference,
            output=output,
            decoding=output,
        )
        running = asyncio.create_task(call.run())
        left.send_ctl(pack_message(Hello(TERMS)))
        try:
            yield Attack(left, backbone, inference)
        finally:
            call.end("Enough.")
            await asyncio.wait_for(running, 20)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow was built without AVIF")
async def test_the_event_loop_goes_on_while_a_costly_picture_is_decoded(
    decoded: list[tuple[float, float]],
) -> None:
    data = costly()
    async with turns() as moments:
        for _ in range(CALLS):
            async with attack() as peer:
                for number, slot in enumerate((0, 3)):
                    await peer.send(number, slot, data)
                    assert await peer.answer() == Ready(number)
            assert len(peer.backbone.encoded) == 2
            shares = [longest_share(span, moments) for span in decoded]
            # The least, since other processes take the processor away at times.
            least = min(shares[0::2]), min(shares[1::2])
            if max(least) < 0.5:
                break
    assert max(least) < 0.5


async def test_broken_pictures_are_asked_for_again_until_there_were_too_many() -> None:
    async with attack() as peer:
        await peer.send(0, 0, GOOD)
        assert await peer.answer() == Ready(0)
        for number in range(1, 1 + MAX_BAD_PICTURES):
            await peer.send(number, 5, JUNK)
            assert await peer.answer() == Want(5)
        await peer.send(number + 1, 2, GOOD)
        assert await peer.answer() == Ready(number + 1)
        await peer.send(number + 2, 5, JUNK)
        assert await peer.answer() == Bye("The source picture is not a readable JPEG.", ok=False)
    assert len(peer.backbone.encoded) == 2


async def test_a_sender_that_awaits_no_answer_is_cut_off(decoded: list[tuple[float, float]]) -> None:
    released = threading.Event()
    async with attack() as peer:
        await peer.send(0, 0, GOOD)
        assert await peer.answer() == Ready(0)
        peer.inference.submit(released.wait)
        try:
            for number in range(1, 2 + MAX_WAITING_PICTURES):
                await peer.send(number, 1, GOOD)
            bye = await peer.answer()
        finally:
            released.set()
    assert bye == Bye("The sender sends source pictures faster than they can be decoded.", ok=False)
    # One waited for the thread, and the others for that one until the call was over.
    assert len(decoded) == 2
