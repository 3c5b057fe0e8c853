"""The receiver's HTTP port, as strangers use it: slowly, in numbers, with much, and from elsewhere."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from receiver.http import connection_limiter
from receiver.http.feeds import Feeds
from receiver.http.page_routes import Page
from receiver.http.signaling import SignalingServer
from receiver.web import page_files
from sender.calling import connect
from shared.protocol.guesses import OF_ALL, OF_ONE
from shared.transport.datachannel import Link

pytestmark = pytest.mark.slow

TOKEN = "correct-horse"
AUTH = {"Authorization": f"Bearer {TOKEN}"}
SDP = {"Content-Type": "application/sdp"}
SECONDS = 0.4


@dataclass
class Server:
    server: SignalingServer
    links: asyncio.Queue[Link]
    said: list[str] = field(default_factory=list)

    async def raw(self, data: bytes = b"") -> "Stranger":
        stranger = Stranger(*await asyncio.open_connection("127.0.0.1", self.server.port))
        stranger.write(data)
        return stranger


@dataclass
class Stranger:
    """A connection without aiohttp's manners."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def rest(self) -> bytes:
        """Return all that comes until the other side closes."""
        try:
            return await asyncio.wait_for(self.reader.read(), 20)
        except ConnectionError:
            return b""

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@pytest_asyncio.fixture
async def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Server]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(connection_limiter, "STRANGER_SECONDS", SECONDS)
    links: asyncio.Queue[Link] = asyncio.Queue()
    said: list[str] = []
    async with SignalingServer("127.0.0.1", 0, TOKEN, links.put_nowait, say=said.append) as server:
        yield Server(server, links, said)


@pytest_asyncio.fixture
async def with_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Server]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    said: list[str] = []
    page = Page(page_files(), Feeds(), dict)
    async with SignalingServer("127.0.0.1", 0, TOKEN, lambda _: None, say=said.append, page=page) as server:
        yield Server(server, asyncio.Queue(), said)


async def trickle(stranger: Stranger, piece: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        while True:
            stranger.write(piece)
            await stranger.writer.drain()
            await asyncio.sleep(0.05)


HEAD = f"POST /whip HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
STRANGE_HEAD = (
    b"POST /whip HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer guess\r\nContent-Length: 60000\r\n\r\n"
)


@pytest.mark.parametrize("begun", [b"", b"GET /stats HTTP/1.1\r\n", STRANGE_HEAD])
async def test_a_slow_stranger_is_cut_off(served: Server, begun: bytes) -> None:
    stranger = await served.raw(begun)
    began = time.monotonic()
    slow = asyncio.create_task(trickle(stranger, b"X: y\r\n" if begun else b""))
    answer = await stranger.rest()
    assert time.monotonic() - began > SECONDS / 2
    assert b"200" not in answer
    slow.cancel()
    await stranger.close()


async def test_a_slow_offer_with_the_token_is_answered_408(
    served: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.http.signaling._BODY_SECONDS", SECONDS)
    peer = await served.raw(HEAD + b"Content-Type: application/sdp\r\nContent-Length: 60000\r\n\r\nv=0")
    slow = asyncio.create_task(trickle(peer, b"\r\n"))
    assert b"408" in await peer.rest()
    slow.cancel()
    await peer.close()


async def test_who_has_shown_the_token_may_stay(served: Server) -> None:
    async with aiohttp.ClientSession(headers=AUTH) as http:
        await (await http.get(f"{served.server.url}/stats")).read()
        await asyncio.sleep(2 * SECONDS)
        response = await http.get(f"{served.server.url}/stats")
        assert response.status == 200
        assert response.headers["Server"] == "keycast"
    assert served.said == []


async def test_many_connections_keep_nobody_out(served: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limiter, "STRANGER_SECONDS", 30.0)
    strangers = [await served.raw(b"POST") for _ in range(connection_limiter.CONNECTIONS_OF_ONE + 10)]
    async with aiohttp.ClientSession(headers=AUTH) as http:
        assert (await http.get(f"{served.server.url}/stats")).status == 200
    oldest = await asyncio.gather(*(stranger.rest() for stranger in strangers[:10]))
    assert oldest == [b""] * 10
    assert served.server._limiter is not None
    assert len(served.server._limiter._visitors) <= connection_limiter.CONNECTIONS_OF_ONE
    assert any("too many connections" in line for line in served.said)
    # As many lines as somebody reads, however often it happens.
    assert len(served.said) <= 6
    for stranger in strangers:
        await stranger.close()


async def test_all_places_taken_by_the_token_refuse_the_next(
    served: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limiter, "CONNECTIONS", 2)
    known = b"GET /stats HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer correct-horse\r\n\r\n"
    inside = [await served.raw(known) for _ in range(2)]
    for one in inside:
        assert b"200" in await one.reader.readline()
    late = await served.raw()
    assert await late.rest() == b""
    inside[0].write(known)
    assert b"200" in await inside[0].reader.readuntil(b"200 OK")
    for one in (*inside, late):
        await one.close()


async def test_much_from_a_stranger_is_not_taken_in(served: Server) -> None:
    stranger = await served.raw(b"POST /whip HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        for _ in range(100):
            stranger.write(bytes(8192))
            await stranger.writer.drain()
    await stranger.rest()
    assert any("bytes without the token" in line for line in served.said)
    await stranger.close()


@pytest.mark.parametrize(
    "head", [b"GET /stats HTTP/1.1\r\nX: " + b"y" * 20_000, b"GET /" + b"y" * 20_000, b"\x16\x03\x01\x02\x00"]
)
async def test_long_heads_and_nonsense_are_refused_without_a_traceback(
    served: Server, capfd: pytest.CaptureFixture[str], head: bytes
) -> None:
    stranger = await served.raw(head + b"\r\n\r\n")
    assert b" 400 " in (await stranger.rest())[:20]
    await stranger.close()
    assert capfd.readouterr().err == ""
    assert len(served.said) <= 1


ODD_HEADS = [
    b"DELETE /session/%C3%A4 HTTP/1.1\r\n",
    b"DELETE /session/%FF%00 HTTP/1.1\r\n",
    b"DELETE /session/%ED%A0%80 HTTP/1.1\r\n",
    b"DELETE /session/\xc3\xa4 HTTP/1.1\r\n",
    b"GET /%2e%2e/%00 HTTP/1.1\r\n",
    b"POST /whip HTTP/1.1\r\nContent-Type: application/sdp; charset=\xff\r\nContent-Length: 1\r\n",
    b"POST /whip HTTP/1.1\r\nContent-Type: application/sdp\r\nContent-Encoding: nonsense\r\n",
    b"POST /whip HTTP/1.1\r\nContent-Type: application/sdp\r\nExpect: nonsense\r\n",
    b"POST /login HTTP/1.1\r\nTransfer-Encoding: chunked\r\n",
    b"GET /session HTTP/1.1\r\nCookie: \xff=\xfe; keycast-0=\xe4; ;;=\r\n",
    b"GET /live HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: nonsense\r\n",
    b"GET /stats HTTP/1.1\r\nOrigin: http://[::\r\n",
    b"GET /stats HTTP/1.1\r\nOrigin: \xff\r\n",
    b"GET /stats HTTP/1.1\r\nIf-Modified-Since: \xff\r\nRange: bytes=-\r\n",
]


@pytest.mark.parametrize("head", ODD_HEADS)
@pytest.mark.parametrize("token", [TOKEN.encode(), b"", b"\xe4\xff"])
async def test_no_request_makes_the_receiver_fail(
    with_page: Server, capfd: pytest.CaptureFixture[str], head: bytes, token: bytes
) -> None:
    rest = b"Host: 127.0.0.1\r\nConnection: close\r\nAuthorization: Bearer " + token + b"\r\n\r\n"
    stranger = await with_page.raw(head + rest)
    for name, body in ((b"Content-Length", b"0"), (b"Transfer-Encoding", b"0\r\n\r\n")):
        if name in head:
            stranger.write(body)
    (status, *_) = (await stranger.rest()).split(b" ", 2)[1:]
    assert 200 <= int(status) < 500
    await stranger.close()
    assert capfd.readouterr().err == ""


async def test_a_closed_terminal_closes_no_door(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is said of strangers may fail to be said, as to a pipe that nobody reads any more."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(connection_limiter, "STRANGER_SECONDS", SECONDS)
    monkeypatch.setattr("receiver.http.signaling._SAY_PER_SECOND", 1000.0)
    failed: list[str] = []

    def say(line: str) -> None:
        failed.append(line)
        raise BrokenPipeError(line)

    async with SignalingServer("127.0.0.1", 0, TOKEN, lambda _: None, say=say) as server:
        served = Server(server, asyncio.Queue())
        crowd = [await served.raw(b"POST") for _ in range(connection_limiter.CONNECTIONS_OF_ONE + 2)]
        # Too many, too long, too much: each is cut off, whether or not it can be said.
        assert await asyncio.gather(*(one.rest() for one in crowd)) == [b""] * len(crowd)
        much = await served.raw(b"GET /stats HTTP/1.1\r\n" + b"X: y\r\n" * 20_000)
        await much.rest()
        async with aiohttp.ClientSession() as http:
            for n in range(6):
                assert (await http.get(f"{server.url}/stats", headers=wrong(n))).status in (401, 429)
        assert {line.split()[1] for line in failed} >= {"or", "kept", "gave"}
        again = await served.raw(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b"404" in await again.reader.readline()
        for one in (*crowd, much, again):
            await one.close()


async def test_a_compressed_body_is_not_unpacked(served: Server) -> None:
    import gzip

    async with aiohttp.ClientSession(headers=AUTH | SDP | {"Content-Encoding": "gzip"}) as http:
        response = await http.post(f"{served.server.url}/whip", data=gzip.compress(bytes(10**7)))
        assert response.status == 400


async def test_a_header_does_not_say_where_a_wrong_token_came_from(served: Server) -> None:
    async with aiohttp.ClientSession() as http:
        statuses = []
        for n in range(7):
            named = {"X-Forwarded-For": f"192.0.2.{n}", "Forwarded": f"for=192.0.2.{n}", **wrong(n)}
            statuses.append((await http.get(f"{served.server.url}/stats", headers=named)).status)
    assert statuses == [401] * 5 + [429] * 2
    assert served.said == ["127.0.0.1 gave too many wrong tokens; it has to wait a minute"]


async def test_many_addresses_of_one_machine_do_not_make_many_guesses(served: Server) -> None:
    """Every user of a machine has all of 127.0.0.0/8, as every IPv6 site has 65,536 networks or more."""
    async with aiohttp.ClientSession(headers=AUTH) as known:
        assert (await known.get(f"{served.server.url}/stats")).status == 200
        statuses = [
            status for last in range(2, 32) for status in await guesses(served, f"127.0.7.{last}", OF_ONE)
        ]
        assert statuses[:OF_ALL] == [401] * OF_ALL
        assert statuses[OF_ALL:] == [429] * (30 * OF_ONE - OF_ALL)
        # That is no matter of those who have been here before.
        assert (await known.get(f"{served.server.url}/stats")).status == 200


async def guesses(served: Server, address: str, count: int) -> list[int]:
    """Guess from `address`; return the answers' statuses."""
    connector = aiohttp.TCPConnector(local_addr=(address, 0))
    async with aiohttp.ClientSession(connector=connector) as http:
        return [
            (await http.get(f"{served.server.url}/stats", headers={"Authorization": f"Bearer {n}"})).status
            for n in range(count)
        ]


def wrong(n: int) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKEN[:n]}"}


async def test_a_replayed_offer_does_not_disturb_the_call(served: Server) -> None:
    """Not while the call is being set up, not while it runs; after it, the offer's own keys are gone."""
    offering = Link()
    offer = await offering.offer()
    url = f"{served.server.url}/whip"
    async with aiohttp.ClientSession(headers=AUTH | SDP) as http:
        first, second = await asyncio.gather(http.post(url, data=offer), http.post(url, data=offer))
        assert sorted([first.status, second.status]) == [201, 409]
        answer = first if first.status == 201 else second
        assert (await http.post(url, data=offer)).status == 409
        await offering.accept(await answer.text())
        await offering.opened()
        other = await served.links.get()
        assert (await http.post(url, data=offer)).status == 409
        offering.send_ctl(b"still here")
        assert await asyncio.wait_for(other.recv(), 20) == ("ctl", b"still here")
        await offering.close()
        await other.close()
        replayed = await http.post(url, data=offer)
        assert replayed.status == 201
        await asyncio.sleep(0.1)
        assert served.links.empty()
        assert (await http.delete(served.server.url + replayed.headers["Location"])).status == 200


async def test_it_listens_on_both_kinds_of_address_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    links: asyncio.Queue[Link] = asyncio.Queue()
    async with SignalingServer("::1", 0, TOKEN, links.put_nowait) as server:
        assert server.url.startswith("http://[::1]:")
        here = await connect(server.url, TOKEN)
        there = await links.get()
        await here.close()
        await there.close()
