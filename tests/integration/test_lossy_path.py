"""Real connections through the impaired path."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bench.network.impairment import PathImpairment
from bench.network.lossy_path import ImpairedPath
from receiver.http.signaling import SignalingServer
from sender.calling import connect
from shared.errors import KeycastError, RequestError
from shared.transport.datachannel import Link

pytestmark = pytest.mark.slow

TOKEN = "correct-horse"
Through = Callable[..., AbstractAsyncContextManager[Any]]


SECONDS = 60.0
"""For a machine that has much else to do."""


async def arrived(sender: Link, receiver: Link) -> list[bytes]:
    """All messages that have come once the sender knows what became of each."""
    assert await sender.drained(SECONDS)
    found = []
    while True:
        try:
            # They are there already, but for one that was given up while it was on its way.
            message = await asyncio.wait_for(receiver.recv(), 0.2)
        except TimeoutError:
            return found
        assert message is not None
        found.append(message[1])


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not true():
            await asyncio.sleep(0.01)


async def test_without_fault_it_counts_what_both_ends_count(call_through: Through) -> None:
    async with call_through("") as call:
        sender, receiver, path = call.sender, call.receiver, call.path
        for n in range(20):
            assert sender.send_kp(bytes([n]) * 100)
            await asyncio.sleep(0.01)
        receiver.send_ctl(bytes(5000))
        assert len(await arrived(sender, receiver)) == 20
        assert await receiver.drained(SECONDS)
        # What has just been sent is still on its way to who counts it.
        await until(lambda: sender.wire_sent == path.up.bytes == receiver.wire_received)
        await until(lambda: receiver.wire_sent == path.down.bytes == sender.wire_received)
        assert path.up.bytes > 20 * 193
        assert path.down.bytes > 5000
        assert path.up.packets >= 20
        assert path.up.dropped == path.down.dropped == 0
        assert receiver.pieces_expected == receiver.pieces_received == 20
        assert sender.pieces_expected == sender.pieces_received == 5  # of one message


async def test_a_lossy_path_loses_its_share_and_says_so(call_through: Through) -> None:
    async with call_through("loss=30") as call:
        sender, receiver, path = call.sender, call.receiver, call.path
        before = path.up.packets
        for n in range(100):
            sender.send_kp(bytes([n]))
            await asyncio.sleep(0.005)
        found = await arrived(sender, receiver)
        assert 50 <= len(found) <= 90
        assert path.up.packets - before >= 100
        assert path.up.dropped >= 10
        # Each message is a piece; those before the first and after the last that came are not known of.
        numbers = [data[0] for data in found]
        assert receiver.pieces_received == len(found)
        assert receiver.pieces_expected == max(numbers) - min(numbers) + 1
        await until(lambda: sender.wire_sent == path.up.bytes)
        assert path.up.bytes > receiver.wire_received


async def test_jitter_delays_and_disorders(call_through: Through) -> None:
    async with call_through("delay=30,jitter=60") as call:
        sender, receiver = call.sender, call.receiver
        loop = asyncio.get_running_loop()
        began = loop.time()
        for n in range(30):
            sender.send_kp(bytes([n]))
        await asyncio.wait_for(receiver.recv(), SECONDS)
        assert loop.time() - began >= 0.03
        found = await arrived(sender, receiver)
        assert len(found) == 29
        assert found != sorted(found)


async def test_a_cut_heals_by_itself(call_through: Through) -> None:
    async with call_through("cut=0.5:0.8") as call:
        found: list[int] = []

        async def hear() -> None:
            while (message := await call.receiver.recv()) is not None:
                found.append(int.from_bytes(message[1]))

        hearing = asyncio.create_task(hear())
        async with asyncio.timeout(SECONDS):
            # Until one has come of after the cut; how many fell into it is a matter of the machine's speed.
            for n in count():
                call.sender.send_kp(n.to_bytes(4))
                await asyncio.sleep(0.01)
                if any(two - one > 10 for one, two in pairwise(found)):
                    break
        assert call.path.up.dropped > 10
    await hearing


async def test_refusals_and_sessions_pass_through(call_through: Through) -> None:
    async with call_through("") as call:
        sender, receiver, path = call.sender, call.receiver, call.path
        with pytest.raises(RequestError, match="rejected the token"):
            await connect(path.url, "wrong")
        with pytest.raises(KeycastError, match="already has a call"):
            await connect(path.url, TOKEN)
        # The call that was there before has not noticed.
        sender.send_ctl(b"hello")
        assert await asyncio.wait_for(receiver.recv(), SECONDS) == ("ctl", b"hello")
        async with aiohttp.ClientSession() as http:
            async with http.get(f"{path.url}/stats") as response:
                assert response.status == 401
            async with http.get(
                f"{path.url}/stats", headers={"Authorization": f"Bearer {TOKEN}"}
            ) as response:
                assert (response.status, await response.json()) == (200, {})


async def test_a_path_to_nowhere_is_no_receiver() -> None:
    async with ImpairedPath("http://127.0.0.1:9") as path:
        with pytest.raises(RequestError, match="not a keycast receiver"):
            await connect(path.url, TOKEN)


async def test_a_set_up_goes_through_a_slow_and_lossy_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    links: asyncio.Queue[Link] = asyncio.Queue()
    async with (
        SignalingServer("127.0.0.1", 0, TOKEN, links.put_nowait) as server,
        ImpairedPath(server.url, PathImpairment.parse("loss=5,delay=50,rate=50"), seed=3) as path,
    ):
        ends = await connect(path.url, TOKEN), await links.get()
        ends[0].send_ctl(b"hello")
        assert await asyncio.wait_for(ends[1].recv(), SECONDS) == ("ctl", b"hello")
        for end in ends:
            await end.close()
