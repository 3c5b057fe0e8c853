"""Real calls through a counting path."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.network.impairment import PathImpairment
from bench.network.lossy_path import ImpairedPath
from receiver.http.signaling import SignalingServer
from sender.calling import connect
from shared.transport.datachannel import Link

TOKEN = "correct-horse"


@dataclass(frozen=True)
class Call:
    """Both ends of an open call, and the path between them."""

    sender: Link
    receiver: Link
    path: ImpairedPath


@pytest.fixture
def call_through(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., AbstractAsyncContextManager[Call]]:
    """Return what sets a call up on a good path and then makes the path as bad as the text says."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    @asynccontextmanager
    async def through(
        text: str = "",
        compact_sender: bool = True,
        compact_receiver: bool = True,
        voice: bool = False,
        receiver_voice: bool = True,
    ) -> AsyncIterator[Call]:
        links: asyncio.Queue[Link] = asyncio.Queue()
        async with (
            SignalingServer(
                "127.0.0.1",
                0,
                TOKEN,
                links.put_nowait,
                compact=compact_receiver,
                voice=voice and receiver_voice,
            ) as server,
            ImpairedPath(server.url, seed=3) as path,
        ):
            sender = await connect(path.url, TOKEN, compact=compact_sender, voice=voice)
            receiver = await links.get()
            path.impair(PathImpairment.parse(text))
            yield Call(sender, receiver, path)
            await sender.close()
            await receiver.close()

    return through
