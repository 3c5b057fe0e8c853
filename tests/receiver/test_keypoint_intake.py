"""Keypoint packets are decoded in a thread, in order, whatever they hold."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from models.lite.layout import DIMENSIONS
from receiver.keypoint_intake import KeypointIntake
from shared.codec.keypoint_codec import Block, PaperCodec
from shared.protocol.events import Ended, Event, FramesArrived, KeypointsArrived, State
from shared.protocol.receiver_session import MAX_BAD_PACKETS
from tests.shared.session_pair import ConnectionPair, packet


class Held(PaperCodec):
    """Decodes once it is released, and remembers in which threads."""

    def __init__(self) -> None:
        super().__init__(DIMENSIONS)
        self.released = threading.Event()
        self.threads: list[str] = []

    def decode(self, payload: bytes, count: int) -> Block:
        assert self.released.wait(20)
        self.threads.append(threading.current_thread().name.partition("_")[0])
        return super().decode(payload, count)


@pytest.fixture
def streaming() -> ConnectionPair:
    pair = ConnectionPair()
    pair.settle()
    assert pair.receiver.state is State.STREAMING
    return pair


def arriving(pair: ConnectionPair, codec: Held, data: bytes) -> KeypointsArrived:
    (event,) = pair.receiver.receive_kp(data, 1.0)
    assert isinstance(event, KeypointsArrived)
    return KeypointsArrived(event.packet, codec, event.now)


async def test_packets_are_decoded_in_their_order_while_the_loop_goes_on(streaming: ConnectionPair) -> None:
    codec, came = Held(), list[Event]()
    with ThreadPoolExecutor(2, "decoding") as decoding:
        intake = KeypointIntake(streaming.receiver, decoding)

        async def take(first: int) -> None:
            came.extend(await intake.take(arriving(streaming, codec, packet(first))))

        tasks = [asyncio.create_task(take(first)) for first in (30, 24, 36)]
        await asyncio.sleep(0.01)
        assert not came
        settled = asyncio.create_task(intake.settled())
        await asyncio.sleep(0)
        assert not settled.done()
        codec.released.set()
        await settled
        await asyncio.gather(*tasks)
    assert [event.first for event in came if isinstance(event, FramesArrived)] == [30, 24, 36]
    assert codec.threads == ["decoding"] * 3


async def test_broken_packets_are_dropped_until_there_were_too_many(streaming: ConnectionPair) -> None:
    codec = Held()
    codec.released.set()
    with ThreadPoolExecutor(1) as decoding:
        intake = KeypointIntake(streaming.receiver, decoding)
        # A header that promises more frames than there are.
        broken = packet(30)[:-1]
        events = [await intake.take(arriving(streaming, codec, broken)) for _ in range(MAX_BAD_PACKETS)]
        assert not any(events)
        assert streaming.receiver.tally.bad_packets == MAX_BAD_PACKETS
        (ended,) = await intake.take(arriving(streaming, codec, broken))
        assert isinstance(ended, Ended)
        assert not ended.ok


async def test_what_came_before_an_end_is_still_shown(streaming: ConnectionPair) -> None:
    codec = Held()
    codec.released.set()
    arrived = arriving(streaming, codec, packet(30))
    streaming.receiver.end("Enough.")
    with ThreadPoolExecutor(1) as decoding:
        (event,) = await KeypointIntake(streaming.receiver, decoding).take(arrived)
    assert isinstance(event, FramesArrived)
