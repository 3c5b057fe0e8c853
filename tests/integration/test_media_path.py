"""Keypoints and reports as media over real connections, counted on the way."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from shared.constants import MAX_PACKET
from shared.protocol.message_format import pack_message
from shared.protocol.messages import Still
from shared.protocol.reports import Report
from shared.transport.media import pack

pytestmark = pytest.mark.slow

Through = Callable[..., AbstractAsyncContextManager[Any]]
REPORT = pack_message(Report(packets=3, highest=20))


async def using_media(call: Any) -> None:
    call.sender.use_media()
    call.receiver.use_media()
    # Acknowledgements of what was said before are on their way for half a second.
    await asyncio.sleep(0.8)


async def next_of(link: Any, count: int) -> list[tuple[str, bytes]]:
    return [await asyncio.wait_for(link.recv(), 20) for _ in range(count)]


async def test_a_message_costs_46_bytes_and_nobody_answers(call_through: Through) -> None:
    async with call_through() as call:
        await using_media(call)
        up, down = call.path.up.bytes, call.path.down.packets
        for n in range(20):
            assert call.sender.send_kp(bytes([n]) * 60)
            await asyncio.sleep(0.02)
        assert await next_of(call.receiver, 20) == [("kp", bytes([n]) * 60) for n in range(20)]
        await asyncio.sleep(0.8)
        # A consent check may fall in between: two datagrams of some 100 bytes each way.
        assert 20 * (60 + 46) <= call.path.up.bytes - up <= 20 * (60 + 46) + 300
        assert call.path.down.packets - down <= 2
        assert call.sender.overhead == 46
        assert call.receiver.by_cause["received"]["keypoints"] == 20 * 60
        assert call.sender.by_cause["sent"]["keypoints"] == 20 * 60


async def test_a_report_goes_the_same_way_and_the_rest_of_control_does_not(call_through: Through) -> None:
    async with call_through() as call:
        assert not call.receiver.send_report(REPORT)
        await using_media(call)
        assert call.receiver.send_report(REPORT)
        call.receiver.send_ctl(pack_message(Still()))
        assert sorted(await next_of(call.sender, 2)) == sorted(
            [("ctl", REPORT), ("ctl", pack_message(Still()))]
        )
        assert call.sender.app_received == call.receiver.app_sent


async def test_what_would_end_in_the_header_goes_through_the_channel(call_through: Through) -> None:
    async with call_through() as call:
        await using_media(call)
        assert call.sender.send_kp(b"tiny")
        assert await next_of(call.receiver, 1) == [("kp", b"tiny")]
        assert call.sender.by_cause["sent"]["rtp"] == 0


async def test_what_is_lost_is_counted_and_not_said_again(call_through: Through) -> None:
    async with call_through("loss=30") as call:
        call.sender.use_media()
        before = call.receiver.pieces_expected
        for n in range(200):
            assert call.sender.send_kp(n.to_bytes(8, "big"))
            await asyncio.sleep(0.003)
        async with asyncio.timeout(60):
            while call.receiver.pieces_expected - before < 190:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        expected, received = call.receiver.pieces_expected - before, call.receiver.pieces_received
        assert expected <= 200
        assert 100 <= received <= 175


async def test_without_the_compact_transport_there_is_none(call_through: Through) -> None:
    async with call_through(compact_sender=False) as call:
        assert not call.sender.carries_media
        call.sender.use_media()
        assert call.sender.overhead == 93
        assert call.sender.send_kp(b"keypoints")
        assert await next_of(call.receiver, 1) == [("kp", b"keypoints")]
        # What comes as media all the same is not read.
        assert call.receiver.carries_media
        call.receiver.use_media()
        assert call.receiver.send_report(REPORT)
        call.receiver.send_ctl(b"after")
        assert await next_of(call.sender, 1) == [("ctl", b"after")]


@pytest.mark.parametrize(
    "packet",
    [
        pack("ctl", 0, pack_message(Still())),
        pack("kp", 0, bytes(MAX_PACKET + 1)),
        pack("kp", 0, b"kkkkk")[:12],
    ],
)
async def test_who_sends_what_does_not_belong_there_is_cut_off(call_through: Through, packet: bytes) -> None:
    async with call_through() as call:
        call.sender._wire.path.send(packet)
        assert await asyncio.wait_for(call.receiver.recv(), 20) is None
        assert "media packet" in call.receiver.reason
