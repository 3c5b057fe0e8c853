"""Real connections through the impaired path."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from itertools import pairwise
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


async def arrived(link: Link, seconds: float) -> list[bytes]:
    """All kp messages that come until none has come for `seconds`."""
    found = []
    while True:
        try:
            message = await asyncio.wait_for(link.recv(), seconds)
        except TimeoutError:
            return found
        assert message is not None
        found.append(message[1])


async def test_without_fault_it_counts_what_both_ends_count(call_through: Through) -> None:
    async with call_through("") as call:
        sender, receiver, path = call.sender, call.receiver, call.path
        for n in range(20):
            assert sender.send_kp(bytes([n]) * 100)
            await asyncio.sleep(0.01)
        receiver.send_ctl(bytes(5000))
        assert len(await arrived(receiver, 0.2)) == 20
        assert await receiver.drained()
        await asyncio.sleep(0.05)
        ends = sender.wire_sent, receiver.wire_received, sender.wire_received, receiver.wire_sent
        assert (path.up.bytes, path.up.bytes, path.down.bytes, path.down.bytes) == ends
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
        found = await arrived(receiver, 0.5)
        assert 50 <= len(found) <= 90
        assert path.up.packets - before >= 100
        assert path.up.dropped >= 10
        # Each message is a piece; those before the first and after the last that came are not known of.
        numbers = [data[0] for data in found]
        assert receiver.pieces_received == len(found)
        assert receiver.pieces_expected == max(numbers) - min(numbers) + 1
        assert sender.wire_sent == path.up.bytes > receiver.wire_received


async def test_jitter_delays_and_disorders(call_through: Through) -> None:
    async with call_through("delay=30,jitter=60") as call:
        sender, receiver = call.sender, call.receiver
        loop = asyncio.get_running_loop()
        began = loop.time()
        for n in range(30):
            sender.send_kp(bytes([n]))
        await asyncio.wait_for(receiver.recv(), 2)
        assert loop.time() - began >= 0.03
        found = await arrived(receiver, 0.4)
        assert len(found) == 29
        assert found != sorted(found)


async def test_a_cut_heals_by_itself(call_through: Through) -> None:
    async with call_through("cut=0.3:0.5") as call:
        sender, receiver, path = call.sender, call.receiver, call.path
        for n in range(120):
            sender.send_kp(bytes([n]))
            await asyncio.sleep(0.01)
        found = [one[0] for one in await arrived(receiver, 0.5)]
        assert path.up.dropped > 10
        assert 119 in found
        assert any(two - one > 20 for one, two in pairwise(found))


async def test_refusals_and_sessions_pass_through(call_through: Through) -> None:
    async with call_through("") as call:
        sender, receiver, path = call.sender, call.receiver, call.path
        with pytest.raises(RequestError, match="rejected the token"):
            await connect(path.url, "wrong")
        with pytest.raises(KeycastError, match="already has a call"):
            await connect(path.url, TOKEN)
        # The call that was there before has not noticed.
        sender.send_ctl(b"hello")
        assert await asyncio.wait_for(receiver.recv(), 20) == ("ctl", b"hello")
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
        assert await asyncio.wait_for(ends[1].recv(), 10) == ("ctl", b"hello")
        for end in ends:
            await end.close()
