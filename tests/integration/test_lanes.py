"""Two directions over one real connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np
import pytest

from shared.constants import MAX_CTL_MESSAGE, MAX_PACKET
from shared.media.opus import SAMPLES, OpusEncoder
from shared.media.voice_packet import VoicePacket
from shared.transport.datachannel import Link
from shared.transport.inbox import MAX_CTL, MAX_KP
from shared.transport.lane import Lane

pytestmark = pytest.mark.slow
OPUS = OpusEncoder(18).encode(np.random.default_rng(0).integers(-9000, 9000, SAMPLES, dtype=np.int16))


@dataclass(frozen=True)
class Pair:
    """The two ends of a connection: who has called, and who was called."""

    calling: Link
    called: Link

    @property
    def back(self) -> tuple[Lane, Lane]:
        here, there = self.calling.back, self.called.back
        assert here is not None
        assert there is not None
        return here, there


@asynccontextmanager
async def connected(
    calling_two_way: bool = True, called_two_way: bool = True, voice: bool = False
) -> AsyncIterator[Pair]:
    pair = Pair(Link(two_way=calling_two_way, voice=voice), Link(two_way=called_two_way, voice=voice))
    await pair.calling.accept(await pair.called.answer(await pair.calling.offer()))
    await asyncio.gather(pair.calling.opened(20), pair.called.opened(20))
    try:
        yield pair
    finally:
        await asyncio.gather(pair.calling.shut(), pair.called.shut())


async def received(lane: Lane) -> tuple[str, bytes] | None:
    return await asyncio.wait_for(lane.recv(), 20)


async def test_each_direction_gets_its_own() -> None:
    async with connected() as pair:
        here, there = pair.back
        pair.calling.send_ctl(b"forth")
        there.send_ctl(b"back")
        assert pair.calling.send_kp(b"keypoints forth")
        assert there.send_kp(b"keypoints back")
        assert {await received(pair.called), await received(pair.called)} == {
            ("ctl", b"forth"), ("kp", b"keypoints forth")
        }  # fmt: skip
        assert {await received(here), await received(here)} == {
            ("ctl", b"back"), ("kp", b"keypoints back")
        }  # fmt: skip
        assert await pair.calling.drained()
        assert await there.drained()
        assert here.app_received == there.app_sent == 18
        assert pair.calling.app_received == pair.called.app_sent == 0
        # What is counted on the wire is the connection's.
        assert here.wire_sent == pair.calling.wire_sent
        assert here.binding == pair.called.binding
        assert here.by_cause["received"]["keypoints"] == 14
        assert pair.calling.by_cause["sent"]["keypoints"] == 15


async def test_a_direction_ends_by_itself_and_the_connection_with_the_last() -> None:
    async with connected() as pair:
        here, there = pair.back
        await pair.calling.close()
        assert pair.calling.ended
        assert not here.ended
        assert await received(pair.calling) is None
        there.send_ctl(b"still here")
        assert await received(here) == ("ctl", b"still here")
        # What comes for the direction that was given up is dropped, and ends nothing.
        pair.called.send_ctl(b"too late")
        assert await there.drained()
        await here.close()
        assert await received(there) is None
        assert pair.called.over
        assert there.ended


async def test_a_lane_that_nobody_uses_keeps_no_connection() -> None:
    async with connected() as pair:
        await pair.calling.close()
        assert await received(pair.called) is None


@pytest.mark.parametrize("two_way", [True, False])
async def test_a_side_of_one_direction_works_with_one_of_two(two_way: bool) -> None:
    async with connected(two_way, not two_way) as pair:
        pair.calling.send_ctl(b"hello")
        assert await received(pair.called) == ("ctl", b"hello")
        pair.called.send_ctl(b"hello yourself")
        assert await received(pair.calling) == ("ctl", b"hello yourself")
        whoever = pair.calling if two_way else pair.called
        assert whoever.back is not None
        # Nobody takes it, and nobody minds.
        whoever.back.send_ctl(b"anybody?")
        pair.calling.send_ctl(b"on we go")
        assert await received(pair.called) == ("ctl", b"on we go")
        assert (pair.called if two_way else pair.calling).back is None


async def test_sound_goes_to_the_direction_that_it_belongs_to() -> None:
    async with connected(voice=True) as pair:
        here, there = pair.back
        forth, back = (VoicePacket(number, 0, OPUS).pack() for number in (1, 2))
        assert pair.calling.send_voice(forth)
        assert there.send_voice(back)
        assert await received(pair.called) == ("voice", forth)
        assert await received(here) == ("voice", back)


async def test_a_flood_in_one_direction_leaves_the_other_its_messages() -> None:
    async with connected() as pair:
        here, there = pair.back
        for n in range(4 * MAX_KP):
            there.send_kp(n.to_bytes(4, "big") + bytes(MAX_PACKET - 4))
            if n % 16 == 0:
                pair.called.send_ctl(n.to_bytes(4, "big"))
                await asyncio.sleep(0.02)
        said = [await received(pair.calling) for _ in range(4 * MAX_KP // 16)]
        assert said == [("ctl", n.to_bytes(4, "big")) for n in range(0, 4 * MAX_KP, 16)]
        assert not pair.calling.ended
        # Nobody has read the flood; no more of it is kept than there is room for.
        assert len(here._inbox._messages) == MAX_KP


async def test_a_direction_that_was_not_agreed_may_not_fill_this_side() -> None:
    async with connected() as pair:
        _, there = pair.back
        for _ in range(2 * MAX_CTL):
            there.send_ctl(bytes(MAX_CTL_MESSAGE // 64))
            await asyncio.sleep(0.001)
            if pair.calling.over:
                break
        async with asyncio.timeout(20):
            while not pair.calling.over:
                await asyncio.sleep(0.01)
        assert pair.calling.reason in {
            "The other side sends control messages faster than they can be read.",
            "The other side floods the connection with packets.",
        }
