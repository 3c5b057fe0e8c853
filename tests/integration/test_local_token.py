"""A token that a receiver published on this machine, after the receiver was killed."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sender.calling import connect
from shared.errors import RequestError
from shared.transport.token_file import find

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="nothing is published without locks"),
]

RECEIVER = """
import asyncio
from receiver.http.signaling import SignalingServer

async def serve():
    async with SignalingServer("127.0.0.1", 0, "correct-horse", lambda _: None) as server:
        print(server.port, flush=True)
        await asyncio.sleep(60)

asyncio.run(serve())
"""


@asynccontextmanager
async def receiver() -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A process with a receiver's HTTP side; and its port."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RECEIVER, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield process, int(await asyncio.wait_for(process.stdout.readline(), 30))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "keycast"


async def test_who_takes_a_killed_receivers_port_is_told_no_token(runtime: Path) -> None:
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read(1000))
        writer.close()

    async with receiver() as (process, port):
        url = f"http://127.0.0.1:{port}"
        assert find(url) == ("correct-horse", url)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        assert (runtime / f"{port}.token").exists()
        async with await asyncio.start_server(listen, "127.0.0.1", port):
            with pytest.raises(RequestError, match="No receiver is known"):
                await connect(url)
    assert heard == b""


async def test_who_has_the_port_of_another_loopback_address_is_told_no_token() -> None:
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read(1000))
        writer.close()

    async with receiver() as (_, port), await asyncio.start_server(listen, "127.0.0.2", port):
        with pytest.raises(RequestError, match="No receiver is known"):
            await connect(f"http://127.0.0.2:{port}")
    assert heard == b""
