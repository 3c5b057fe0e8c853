"""Savings of the compact transport, and what it must not lose, counted on the way over real connections."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from bench.network.impairment import PathImpairment
from bench.network.lossy_path import Counts
from shared.constants import MAX_PACKET
from shared.transport.datachannel import Link

pytestmark = pytest.mark.slow

Through = Callable[..., AbstractAsyncContextManager[Any]]
SETTLED = 0.8
"""Longer than the longest wait of an acknowledgement."""


async def arrived(link: Link, count: int, seconds: float = 60.0) -> list[tuple[str, bytes]]:
    async def some() -> list[tuple[str, bytes]]:
        found = []
        while len(found) < count:
            message = await link.recv()
            assert message is not None, link.reason
            found.append(message)
        return found

    return await asyncio.wait_for(some(), seconds)


class Since:
    """What one direction has carried since now."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._bytes, self._packets = counts.bytes, counts.packets

    @property
    def bytes(self) -> int:
        return self._counts.bytes - self._bytes

    @property
    def packets(self) -> int:
        return self._counts.packets - self._packets


async def one_way(call: Any, count: int = 20) -> tuple[Since, Since]:
    await asyncio.sleep(SETTLED)
    up, down = Since(call.path.up), Since(call.path.down)
    for n in range(count):
        assert call.sender.send_kp(bytes([n]) * 60)
        await asyncio.sleep(0.02)
    assert len(await arrived(call.receiver, count)) == count
    await asyncio.sleep(SETTLED)
    return up, down


async def test_a_message_costs_85_bytes_and_few_acknowledgements(call_through: Through) -> None:
    async with call_through() as call:
        up, down = await one_way(call)
        # A consent check may fall in between: two datagrams of some 100 bytes each way.
        assert 20 * (60 + 85) <= up.bytes <= 20 * (60 + 85) + 300
        assert 1 <= down.packets <= 5
        assert call.sender._peer.sctp is not None
        assert not call.sender._peer.sctp._sent_queue


async def test_by_flag_everything_is_as_aiortc_does_it(call_through: Through) -> None:
    async with call_through(compact_sender=False, compact_receiver=False) as call:
        up, down = await one_way(call)
        assert 20 * (60 + 93) <= up.bytes <= 20 * (60 + 93) + 300
        assert down.packets >= 20


@pytest.mark.parametrize("compact_sender", [False, True])
async def test_one_side_may_be_compact_alone(call_through: Through, compact_sender: bool) -> None:
    async with call_through(compact_sender=compact_sender, compact_receiver=not compact_sender) as call:
        _, down = await one_way(call)
        assert (down.packets >= 20) is compact_sender
        for here, there in ((call.sender, call.receiver), (call.receiver, call.sender)):
            for n in range(30):
                here.send_ctl(n.to_bytes(2, "big") * 500)
            assert await arrived(there, 30) == [("ctl", n.to_bytes(2, "big") * 500) for n in range(30)]


async def test_acknowledgements_travel_with_messages_of_the_other_direction(call_through: Through) -> None:
    async with call_through() as call:
        await asyncio.sleep(SETTLED)
        up, down = Since(call.path.up), Since(call.path.down)
        for _ in range(8):
            call.receiver.send_ctl(bytes(24))
            for n in range(4):
                assert call.sender.send_kp(bytes([n]) * 60)
                await asyncio.sleep(0.05)
        assert len(await arrived(call.receiver, 32)) == 32
        assert len(await arrived(call.sender, 8)) == 8
        await asyncio.sleep(SETTLED)
        # 32 messages up, 8 down, a bare acknowledgement at the end; and a consent check may fall in between.
        assert 32 <= up.packets <= 32 + 4
        assert 8 <= down.packets <= 8 + 4


async def test_where_both_sides_send_often_acknowledgements_ride_with_every_other_message(
    call_through: Through,
) -> None:
    """As in a two-way call: a message of either side every 0.2 s."""
    async with call_through() as call:
        await asyncio.sleep(SETTLED)
        up, down = Since(call.path.up), Since(call.path.down)
        before = call.sender.by_cause["sent"]["acknowledgements"]
        for _ in range(12):
            assert call.sender.send_kp(bytes(60))
            await asyncio.sleep(0.1)
            assert call.receiver.send_kp(bytes(60))
            await asyncio.sleep(0.1)
        await asyncio.sleep(SETTLED)
        assert max(up.packets, down.packets) <= 12 + 4
        # 16 bytes each; a message of the other side that came late may have had one leave sooner.
        assert 4 * 16 <= call.sender.by_cause["sent"]["acknowledgements"] - before <= 8 * 16
        assert not call.sender._peer.sctp._sent_queue


async def test_a_short_reliable_message_rides_with_the_next_keypoints(call_through: Through) -> None:
    async with call_through() as call:
        await asyncio.sleep(SETTLED)
        for _ in range(3):
            call.sender.send_kp(bytes(60))
            await asyncio.sleep(0.1)
        up = Since(call.path.up)
        call.sender.send_ctl(bytes(25))
        await asyncio.sleep(0.05)
        assert up.packets == 0
        call.sender.send_kp(bytes(60))
        assert len(await arrived(call.receiver, 5)) == 5
        assert up.packets == 1


@pytest.mark.parametrize("size", [25, 1000])
async def test_a_reliable_message_waits_for_none_that_does_not_come(call_through: Through, size: int) -> None:
    async with call_through() as call:
        call.sender.send_kp(bytes(60))
        call.sender.send_ctl(bytes(size))
        call.sender.send_ctl(b"bye")
        found = await arrived(call.receiver, 3)
        assert [data for name, data in found if name == "ctl"] == [bytes(size), b"bye"]
        assert await call.sender.drained()


async def test_a_message_that_fills_its_packet_leaves_beside_the_acknowledgement(
    call_through: Through,
) -> None:
    async with call_through() as call:
        await asyncio.sleep(SETTLED)
        down = Since(call.path.down)
        call.sender.send_kp(bytes(60))
        await arrived(call.receiver, 1)
        assert down.packets == 0
        assert call.receiver.send_kp(bytes(MAX_PACKET))
        assert await arrived(call.sender, 1) == [("kp", bytes(MAX_PACKET))]
        assert down.packets == 2


@pytest.mark.parametrize("text", ["loss=20", "loss=10,delay=20,jitter=60,duplicate=10"])
async def test_reliable_messages_arrive_once_and_in_order_whatever_the_path_does(
    call_through: Through, text: str
) -> None:
    async with call_through(text) as call:

        async def stream() -> None:
            while True:
                call.sender.send_kp(bytes(60))
                await asyncio.sleep(0.03)

        streaming = asyncio.create_task(stream())
        sent = [n.to_bytes(2, "big") * 500 for n in range(12)]
        for message in sent:
            call.sender.send_ctl(message)
            call.receiver.send_ctl(message[:30])
        found: list[bytes] = []
        while len(found) < len(sent):
            (channel, data), *_ = await arrived(call.receiver, 1)
            found += [data] if channel == "ctl" else []
        streaming.cancel()
        assert found == sent
        assert [data for _, data in await arrived(call.sender, len(sent))] == [one[:30] for one in sent]


async def test_lost_keypoint_messages_hold_nothing_up(call_through: Through) -> None:
    async with call_through("loss=30") as call:
        for n in range(100):
            assert call.sender.send_kp(bytes([n]))
            await asyncio.sleep(0.02)
        call.path.impair(PathImpairment())
        call.sender.send_ctl(b"after")
        last = await asyncio.wait_for(until(call.receiver, b"after"), 60)
        assert 50 <= last <= 90
        assert await call.sender.drained()


async def until(link: Link, data: bytes) -> int:
    """How many messages come before `data`."""
    count = 0
    while (message := await link.recv()) is not None:
        if message[1] == data:
            return count
        count += 1
    raise AssertionError(link.reason)
