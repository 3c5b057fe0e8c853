"""The viewer page over HTTP: who may watch, what a viewer can do, and what a slow one costs."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from receiver.http import connection_limiter, page_routes, viewer
from receiver.http.authenticator import pass_of
from receiver.http.broadcast import Broadcast
from receiver.http.feeds import Feeds
from receiver.http.page_routes import MAX_VIEWERS, Page
from receiver.http.signaling import SignalingServer
from receiver.http.viewer import FIGURES, PICTURE, UNDER_WAY
from receiver.web import page_files
from shared.transport.tls import client_context, server_context
from tests.integration.test_tls import made

pytestmark = pytest.mark.slow

TOKEN = "correct-horse"
SECONDS = 60.0
"""For a machine that has much else to do."""
FIGURES_SENT = {"state": "live", "fps_shown": 29.5}


@dataclass
class Served:
    server: SignalingServer
    pictures: Broadcast
    said: list[str] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return self.server.url

    @asynccontextmanager
    async def browser(self, token: str | None = TOKEN) -> AsyncIterator[aiohttp.ClientSession]:
        """A client with cookies, signed in with `token`."""
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(self.origin, cookie_jar=jar) as http:
            if token is not None:
                assert (await http.post("/login", data=token)).status == 204
            yield http

    async def waited_for(self, viewers: int) -> None:
        """Return once so many viewers wait for a picture."""
        await until(lambda: len(self.pictures._waiting) == viewers)

    async def publish(self, count: int, viewers: int, answering: int) -> list[bytes]:
        """Give out so many pictures, each once all wait for it but those that have answered none of many."""
        made = [f"picture {n}".encode() for n in range(count)]
        for n, picture in enumerate(made):
            await self.waited_for(viewers if n < UNDER_WAY[PICTURE] else answering)
            self.pictures.publish(picture)
            # It is taken in the next turns of the loop, after which who has room waits again.
            for _ in range(5):
                await asyncio.sleep(0)
        return made


@pytest_asyncio.fixture
async def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Served]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    feeds, said = Feeds(), list[str]()
    shown = Page(page_files(), feeds, lambda: FIGURES_SENT)
    async with SignalingServer("127.0.0.1", 0, TOKEN, lambda _: None, say=said.append, page=shown) as server:
        yield Served(server, feeds.pictures, said)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not true():
            await asyncio.sleep(0.01)


async def next_picture(socket: aiohttp.ClientWebSocketResponse, answer: bool = True) -> bytes:
    """Return the next picture; figures that come before it are answered."""
    while True:
        message = await socket.receive(timeout=SECONDS)
        if message.type is aiohttp.WSMsgType.BINARY:
            if answer:
                await socket.send_str(PICTURE)
            return bytes(message.data)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        await socket.send_str(FIGURES)


async def test_the_page_is_for_anybody_and_holds_nothing_of_the_call(served: Served) -> None:
    async with served.browser(None) as http:
        for name, content in page_files().items():
            answer = await http.get("/" if name == "page.html" else f"/{name}")
            assert (answer.status, await answer.read()) == (200, content)
            policy = answer.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; script-src 'self';")
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert TOKEN.encode() not in content
        assert (await http.get("/")).content_type == "text/html"
        assert (await http.get("/page_routes.py")).status == 404
        assert (await http.get("/../signaling.py")).status == 404


async def test_without_the_token_there_is_no_call(served: Served) -> None:
    async with served.browser(None) as http:
        assert await (await http.get("/session")).json() == {"access": "token"}
        with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
            await http.ws_connect("/live")
        assert (await http.get("/stats")).status == 401


async def test_the_token_opens_the_call_to_a_cookie_that_scripts_and_strangers_cannot_use(
    served: Served,
) -> None:
    async with served.browser(None) as http:
        answer = await http.post("/login", data=TOKEN)
        cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith(f"keycast-{served.server.port}=")
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert TOKEN not in cookie
        assert await (await http.get("/session")).json() == {"access": "open"}
        async with http.ws_connect("/live") as socket:
            assert json.loads(await socket.receive_str(timeout=SECONDS)) == FIGURES_SENT
        # Who watches may not call for all that, nor see what tools see.
        assert (await http.get("/stats")).status == 401


async def test_the_token_cannot_be_found_from_the_cookie_by_trying(served: Served) -> None:
    async with served.browser() as http:
        (cookie,) = http.cookie_jar
    began = time.process_time()
    assert cookie.value == pass_of(TOKEN)
    # A plain hash takes a hundred-thousandth of that, and a graphics card tries them by the billion.
    assert time.process_time() - began > 0.02


async def test_wrong_tokens_and_wrong_cookies_are_counted_together(served: Served) -> None:
    async with served.browser(None) as http:
        statuses = [(await http.post("/login", data=f"guess-{n}")).status for n in range(3)]
        cookie = {"Cookie": f"keycast-{served.server.port}=guess"}
        first = await http.get("/session", headers=cookie)
        assert await first.json() == {"access": "token"}
        # The browser forgets a cookie that is none any more: it would lock its user out.
        assert "Max-Age=0" in first.headers["Set-Cookie"]
        assert (await http.get("/live", headers=cookie)).status == 401
        assert statuses == [401] * 3
        assert (await http.post("/login", data=TOKEN)).status == 429
        assert await (await http.get("/session", headers=cookie)).json() == {"access": "wait"}
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert (await http.get("/stats", headers=bearer)).status == 429
        assert (await http.get("/")).status == 200
    assert served.said == ["127.0.0.1 gave too many wrong tokens; it has to wait a minute"]


@pytest.mark.parametrize(
    "header",
    [
        {"Origin": "http://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_other_sites_can_neither_watch_nor_use_up_a_visitors_attempts(
    served: Served, header: dict[str, str]
) -> None:
    async with served.browser() as http:
        for _ in range(6):
            assert (await http.post("/login", data="guess", headers=header)).status == 403
            assert (await http.post("/whip", data="guess", headers=header)).status == 403
            assert (await http.get("/stats", headers=header)).status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await http.ws_connect("/live", headers=header)
        assert (await http.get("/session", headers={"Origin": served.origin})).status == 200


@pytest.mark.parametrize(
    "host",
    ["elsewhere.example", "elsewhere.example:8470", "192.0.2.7", "127.0.0.1@x", "[::", "127.0.0.1:x", ""],
)
async def test_a_name_that_somebody_pointed_here_is_not_this_receiver(served: Served, host: str) -> None:
    """The page of a site whose name is pointed at this machine is this receiver's own, to a browser."""
    bearer = {"Authorization": "Bearer guess", "Content-Type": "application/sdp"}
    asked = [("GET", path) for path in ("/", "/session", "/live", "/stats", "/nothing")]
    asked += [("POST", "/whip"), ("POST", "/login"), ("DELETE", "/session/1")]
    async with served.browser() as http:
        for method, path in asked:
            answer = await http.request(method, path, data=b"guess", headers={"Host": host, **bearer})
            assert answer.status in (400, 421), path
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        # Nothing of it was an attempt: who is really here is not locked out.
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert (await http.get("/stats", headers=right)).status == 200
        assert (await http.get("/", headers={"Host": "localhost:1"})).status == 200
        assert (await http.get("/", headers={"Host": "LOCALHOST."})).status == 200
    assert served.said == []


async def test_a_request_names_one_host(served: Served) -> None:
    for heads in (b"", b"Host: 127.0.0.1\r\nHost: 127.0.0.1\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.server.port)
        writer.write(b"GET / HTTP/1.1\r\n" + heads + b"Connection: close\r\n\r\n")
        assert (await reader.read()).split()[1] == b"400"
        writer.close()


async def test_what_is_given_as_a_token_is_bounded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_routes, "_BODY_SECONDS", 0.3)

    async def slow() -> AsyncIterator[bytes]:
        yield b"cor"
        await asyncio.sleep(SECONDS)

    async with served.browser(None) as http:
        assert (await http.post("/login", data="x" * 201)).status == 413
        assert (await http.post("/login", data=slow())).status == 413
        late = await http.post("/login", data=slow(), headers={"Content-Length": "13"})
        assert late.status == 408
        assert (await http.post("/login", data=b"\xff\xfe")).status == 401


async def test_so_many_may_watch(served: Served) -> None:
    async with served.browser() as http, AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(http.ws_connect("/live")) for _ in range(MAX_VIEWERS)]
        assert await (await http.get("/session")).json() == {"access": "full"}
        with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
            await http.ws_connect("/live")
        await sockets[0].close()
        async with http.ws_connect("/live") as socket:
            assert json.loads(await socket.receive_str(timeout=SECONDS)) == FIGURES_SENT
    assert served.said == []


async def test_a_viewer_that_does_not_keep_up_gets_fewer_and_keeps_nobody_waiting(served: Served) -> None:
    async with served.browser() as http, http.ws_connect("/live") as quick, http.ws_connect("/live") as slow:
        quick_ones = asyncio.create_task(collect(quick, 12))
        all_of_them = await served.publish(12, viewers=2, answering=1)
        assert await asyncio.wait_for(quick_ones, SECONDS) == all_of_them
        got = [await next_picture(slow, answer=False) for _ in range(UNDER_WAY[PICTURE])]
        assert got == all_of_them[: UNDER_WAY[PICTURE]]
        # What it has missed is gone; what comes next is new.
        await slow.send_str(PICTURE)
        await served.waited_for(2)
        served.pictures.publish(b"newest")
        assert await next_picture(slow) == b"newest"


async def collect(socket: aiohttp.ClientWebSocketResponse, count: int) -> list[bytes]:
    return [await next_picture(socket) for _ in range(count)]


async def test_pictures_are_wanted_only_where_somebody_sees_them(served: Served) -> None:
    assert not served.pictures.wanted
    async with served.browser() as http:
        async with http.ws_connect("/live") as socket:
            await socket.receive_str(timeout=SECONDS)
            await until(lambda: served.pictures.wanted)
            await served.publish(UNDER_WAY[PICTURE], viewers=1, answering=0)
            assert not served.pictures.wanted
            await next_picture(socket)
            await until(lambda: served.pictures.wanted)
        await until(lambda: not served.pictures.wanted)


@pytest.mark.parametrize("said", ["x", PICTURE, "p" * 17, b"p", FIGURES * 2])
async def test_a_viewer_that_says_anything_else_is_cut_off(served: Served, said: str | bytes) -> None:
    async with served.browser() as http, http.ws_connect("/live") as socket:
        await socket.receive_str(timeout=SECONDS)
        await (socket.send_str(said) if isinstance(said, str) else socket.send_bytes(said))
        while not (message := await socket.receive(timeout=SECONDS)).type.name.startswith("CLOS"):
            assert message.type is aiohttp.WSMsgType.TEXT
    assert not served.pictures.wanted
    assert served.said == []


async def test_a_silent_viewer_is_cut_off(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer, "SILENCE_SECONDS", 0.3)
    async with served.browser() as http, http.ws_connect("/live", autoping=False) as socket:
        figures = 0
        while (message := await socket.receive(timeout=SECONDS)).type is aiohttp.WSMsgType.TEXT:
            figures += 1
        assert message.type.name.startswith("CLOS")
        assert 1 <= figures <= UNDER_WAY[FIGURES]


async def test_who_watches_stays_beyond_a_strangers_time(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limiter, "STRANGER_SECONDS", 0.2)
    async with served.browser() as http, http.ws_connect("/live") as socket:
        for _ in range(4):
            await socket.receive_str(timeout=SECONDS)
            await socket.send_str(FIGURES)
    assert served.said == []


async def test_a_receiver_that_stops_says_so_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    shown = Page(page_files(), Feeds(), lambda: FIGURES_SENT)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        async with SignalingServer("127.0.0.1", 0, TOKEN, lambda _: None, page=shown) as server:
            await http.post(f"{server.url}/login", data=TOKEN)
            socket = await http.ws_connect(f"{server.url}/live")
            await socket.receive_str(timeout=SECONDS)
            reading = asyncio.create_task(closing(socket))
        assert await asyncio.wait_for(reading, SECONDS) == 1001


async def closing(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    async for _ in socket:
        pass
    return socket.close_code


async def test_the_cookie_outlives_the_receiver_where_the_token_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    jar, port = aiohttp.CookieJar(unsafe=True), 0
    seen = []
    async with aiohttp.ClientSession(cookie_jar=jar) as http:
        for token in (TOKEN, TOKEN, "another-one"):
            shown = Page(page_files(), Feeds(), lambda: FIGURES_SENT)
            async with SignalingServer("127.0.0.1", port, token, lambda _: None, page=shown) as server:
                port = server.port
                if not seen:
                    await http.post(f"{server.url}/login", data=token)
                seen.append((await (await http.get(f"{server.url}/session")).json())["access"])
    assert seen == ["open", "open", "token"]
    assert len(jar) == 0


async def test_over_https_the_cookie_never_goes_another_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    files = made(tmp_path)
    shown = Page(page_files(), Feeds(), lambda: FIGURES_SENT)
    context = server_context(files.certificate, files.key)
    connector = aiohttp.TCPConnector(ssl=client_context(files.certificate))
    async with (
        SignalingServer("127.0.0.1", 0, TOKEN, lambda _: None, tls=context, page=shown) as server,
        aiohttp.ClientSession(connector=connector) as http,
    ):
        answer = await http.post(f"{server.url}/login", data=TOKEN)
        name, _, rest = answer.headers["Set-Cookie"].partition("=")
        assert name == f"__Host-keycast-{server.port}"
        assert {"Secure", "HttpOnly", "Path=/"} <= {part.strip() for part in rest.split(";")}
        cookie = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}
        async with http.ws_connect(f"{server.url}/live", headers=cookie) as socket:
            assert json.loads(await socket.receive_str(timeout=SECONDS)) == FIGURES_SENT
