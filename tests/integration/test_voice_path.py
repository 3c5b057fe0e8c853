"""Sound packets over a real connection: they arrive, cost what is said, and harm nothing."""

import asyncio
import contextlib
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import numpy as np
import pylibsrtp
import pytest

from shared.interfaces import Channel
from shared.media.opus import SAMPLES, OpusEncoder
from shared.media.voice_packet import PACKET_OVERHEAD, VoicePacket
from shared.transport.datachannel import Link
from tests.integration.conftest import Call

pytestmark = pytest.mark.slow

OPUS = OpusEncoder(18).encode(np.random.default_rng(0).integers(-9000, 9000, SAMPLES, dtype=np.int16))
Through = Callable[..., AbstractAsyncContextManager[Call]]


async def next_of(call: Call, channel: Channel, seconds: float = 20.0) -> bytes:
    while (message := await asyncio.wait_for(call.receiver.recv(), seconds)) is not None:
        if message[0] == channel:
            return message[1]
    raise AssertionError("the connection has ended")


def packet(number: int) -> bytes:
    return VoicePacket(number, number, OPUS).pack()


async def test_packets_arrive_whole_and_cost_fifty_bytes_each(call_through: Through) -> None:
    async with call_through(voice=True) as call:
        # Whatever else is on its way, such as acknowledgements of the set-up, is over.
        await asyncio.sleep(1.0)
        up, down, ours, theirs = (
            call.path.up.bytes, call.path.down.bytes, call.sender.wire_sent, call.receiver.wire_received,
        )  # fmt: skip
        for number in range(20):
            assert call.sender.send_voice(packet(number))
            assert await next_of(call, "voice") == packet(number)
        size = 20 * (len(OPUS) + PACKET_OVERHEAD)
        # An ICE check may fall between.
        assert size <= call.path.up.bytes - up <= size + 400
        assert size <= call.sender.wire_sent - ours <= size + 400
        assert size <= call.receiver.wire_received - theirs <= size + 400
        assert call.path.down.bytes - down <= 400


async def test_the_offer_is_the_same_with_and_without_sound() -> None:
    offers = []
    for voice in (False, True):
        link = Link(voice=voice)
        offers.append([re.split(r"[:\d]", line)[0] for line in (await link.offer()).splitlines()])
        assert not link.send_voice(packet(0))
        await link.close()
    assert offers[0] == offers[1]


async def test_a_connection_without_sound_neither_sends_nor_sees_a_packet(call_through: Through) -> None:
    async with call_through(voice=True, receiver_voice=False) as call:
        assert not call.receiver.send_voice(packet(0))
        before = call.receiver.wire_received
        assert call.sender.send_voice(packet(0))
        call.sender.send_ctl(b"after")
        assert await call.receiver.recv() == ("ctl", b"after")
        assert call.receiver.wire_received - before < 500


async def test_a_flood_ends_the_call_with_a_reason(
    call_through: Through, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A busy machine may not send as fast as the true bound.
    monkeypatch.setattr("shared.transport.voice.PER_SECOND", 20.0)
    monkeypatch.setattr("shared.transport.voice.AT_ONCE", 200.0)
    async with call_through(voice=True) as call:
        sent, until = 0, asyncio.get_running_loop().time() + 40
        while not call.receiver.ended and asyncio.get_running_loop().time() < until:
            for number in range(sent, sent + 50):
                call.sender.send_voice(packet(number))
            sent += 50
            await asyncio.sleep(0.002)
        assert "floods" in call.receiver.reason


async def test_rubbish_beside_the_sound_is_ignored(call_through: Through) -> None:
    async with call_through(voice=True) as call:
        dtls: Any = call.sender._wire.path._dtls  # type: ignore[union-attr]
        for junk in (
            b"\x80",
            b"\x80\x6f" + bytes(40),
            b"\xbf" * 1400,
            b"\x80" * 1490,
            b"\x80\xc8" + bytes(30),
        ):
            await dtls.transport._send(junk)
            await dtls._send_rtp(b"\x80\xc8" + bytes(26))  # RTCP under the right keys
        for junk in (b"\x80" + bytes(11), b"\x9f" + b"\xff" * 60, b"\xb0\x6f" + bytes(300)):
            with contextlib.suppress(pylibsrtp.Error):  # our own side may refuse to encrypt it
                await dtls._send_rtp(junk)
        call.sender.send_voice(packet(7))
        while await next_of(call, "voice") != packet(7):
            pass
        assert not call.receiver.ended
