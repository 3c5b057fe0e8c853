"""The page of an end that sends as well: what its owner can do there, and that nobody else can."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from receiver.http.feeds import Feeds
from receiver.http.page_routes import Page
from receiver.http.signaling import SignalingServer
from receiver.http.viewer import FIGURES, HEAR, OWN_PICTURE, PRESSES, PRESSES_AT_ONCE, QUIET, UNDER_WAY
from receiver.web import page_files
from shared.runtime.controls import Choices, Controls
from shared.transport.token_file import find

pytestmark = pytest.mark.slow

CALLERS, OWNERS = "correct-horse", "battery-staple"


@dataclass
class Served:
    server: SignalingServer
    feeds: Feeds
    controls: Controls
    hung_up: list[bool] = field(default_factory=list)

    @asynccontextmanager
    async def viewer(self, token: str) -> AsyncIterator["Viewing"]:
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(self.server.url, cookie_jar=jar) as http:
            assert (await http.post("/login", data=token)).status == 204
            async with http.ws_connect("/live") as socket:
                viewing = Viewing(socket)
                reading = asyncio.create_task(viewing.hear())
                await viewing.until(lambda: bool(viewing.figures))
                yield viewing
                reading.cancel()


@dataclass
class Viewing:
    """A page that answers what it should."""

    socket: aiohttp.ClientWebSocketResponse
    figures: dict[str, Any] = field(default_factory=dict)
    data: list[bytes] = field(default_factory=list)
    gone: bool = False

    async def hear(self) -> None:
        with contextlib.suppress(ConnectionError):
            async for message in self.socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self.figures = json.loads(message.data)
                    await self.socket.send_str(FIGURES)
                else:
                    self.data.append(message.data)
        self.gone = True

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not holds():
                await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Served]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    feeds, controls = Feeds(), Controls()
    page = Page(page_files(), feeds, lambda: {"state": "live"}, controls)
    async with SignalingServer("127.0.0.1", 0, CALLERS, lambda _: None, page=page, owner=OWNERS) as server:
        one = Served(server, feeds, controls)
        controls.on_hang_up(lambda: one.hung_up.append(True))
        yield one


async def test_the_owner_mutes_holds_and_hangs_up(served: Served) -> None:
    async with served.viewer(OWNERS) as page:
        assert page.figures["controls"] == {
            "muted": False, "held": False, "shows_self": True, "peer_muted": False, "peer_held": False,
        }  # fmt: skip
        for word, choices in [
            ("mute", Choices(muted=True)),
            ("hold", Choices(muted=True, held=True)),
            ("self", Choices(muted=True, held=True, shows_self=False)),
        ]:
            await page.socket.send_str(word)
            await page.until(lambda choices=choices: served.controls.choices == choices)
        await page.until(lambda: page.figures["controls"]["held"])
        assert not served.hung_up
        await page.socket.send_str("hang up")
        await page.until(lambda: served.hung_up)
        assert not page.gone


async def test_what_the_window_and_the_other_side_change_is_shown_on_the_page(served: Served) -> None:
    async with served.viewer(OWNERS) as page:
        await asyncio.to_thread(served.controls.toggle_mute)
        served.controls.peer_says(muted=False, held=True)
        await page.until(lambda: page.figures["controls"]["peer_held"] and page.figures["controls"]["muted"])


@pytest.mark.parametrize("word", list(PRESSES))
async def test_who_was_given_the_calls_token_can_change_nothing_here(served: Served, word: str) -> None:
    """That is the other side: it must not unmute a microphone that is not its own."""
    served.controls.toggle_mute()
    async with served.viewer(CALLERS) as page:
        assert page.figures == {"state": "live"}
        await page.socket.send_str(word)
        await page.until(lambda: page.gone)
    assert served.controls.choices == Choices(muted=True)
    assert served.hung_up == []


async def test_oneself_is_for_oneself_alone_and_as_fast_as_it_is_shown(served: Served) -> None:
    assert not served.feeds.own_pictures.wanted
    async with served.viewer(CALLERS) as other:
        await asyncio.sleep(0.1)
        assert not served.feeds.own_pictures.wanted
        async with served.viewer(OWNERS) as page:
            await page.until(lambda: served.feeds.own_pictures.wanted)
            for n in range(10):
                if n < UNDER_WAY[OWN_PICTURE]:
                    await page.until(lambda: served.feeds.own_pictures.wanted)
                served.feeds.own_pictures.publish(f"me {n}".encode())
                # It is taken in the next turns of the loop, after which who has room waits again.
                for _ in range(5):
                    await asyncio.sleep(0)
            assert not served.feeds.own_pictures.wanted
            await page.until(lambda: len(page.data) >= UNDER_WAY[OWN_PICTURE])
            assert page.data == [b"me 0", b"me 1"]
            assert len(page.data) == UNDER_WAY[OWN_PICTURE]
            await page.socket.send_str(OWN_PICTURE)
            await page.until(lambda: served.feeds.own_pictures.wanted)
            served.feeds.own_pictures.publish(b"now")
            await page.until(lambda: page.data[-1] == b"now")
        assert other.data == []


async def test_the_owners_token_opens_no_call_and_no_figures_for_tools(served: Served) -> None:
    async with aiohttp.ClientSession(served.server.url) as http:
        for method, path in (("GET", "/stats"), ("POST", "/whip")):
            asked = {"Authorization": f"Bearer {OWNERS}", "Content-Type": "application/sdp"}
            assert (await http.request(method, path, headers=asked)).status == 401


async def test_another_sites_page_can_press_nothing(served: Served) -> None:
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(served.server.url, cookie_jar=jar) as http:
        assert (await http.post("/login", data=OWNERS)).status == 204
        for header in ({"Origin": "http://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site"}):
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                await http.ws_connect("/live", headers=header)


async def test_who_presses_without_end_is_cut_off(served: Served) -> None:
    changes: list[bool] = []
    served.controls.watch(lambda: changes.append(True))
    async with served.viewer(OWNERS) as page:
        with contextlib.suppress(ConnectionError):
            for _ in range(60):
                await page.socket.send_str("mute")
        await page.until(lambda: page.gone)
    assert PRESSES_AT_ONCE <= len(changes) <= PRESSES_AT_ONCE + 4


@pytest.mark.parametrize(
    "word", ["Mute", "mute ", "toggle_mute", '{"press": "mute"}', "__init__", "hear\0", "s"]
)
async def test_only_the_words_themselves_are_understood(served: Served, word: str) -> None:
    async with served.viewer(OWNERS) as page:
        await page.socket.send_str(word)
        await page.until(lambda: page.gone)
    assert served.controls.choices == Choices()


async def test_sound_goes_to_who_asks_for_it_and_for_as_long(served: Served) -> None:
    sound = served.feeds.sound
    async with served.viewer(CALLERS) as page, served.viewer(CALLERS) as other:
        await asyncio.sleep(0.1)
        assert not sound.wanted
        await page.socket.send_str(HEAR)
        await page.until(lambda: sound.wanted)
        for n in range(5):
            sound.publish(bytes([n]))
        await page.until(lambda: len(page.data) == 5)
        assert page.data == [bytes([n]) for n in range(5)]
        await page.socket.send_str(QUIET)
        await page.until(lambda: not sound.wanted)
        sound.publish(b"more")
        await page.socket.send_str(HEAR)
        await page.until(lambda: sound.wanted)
        sound.publish(b"again")
        await page.until(lambda: page.data[-1] == b"again")
        assert b"more" not in page.data
        assert other.data == []
    await page.until(lambda: not sound.wanted)


async def test_who_does_not_keep_up_with_sound_misses_the_oldest(served: Served) -> None:
    listener = served.feeds.sound.queue()
    served.feeds.sound.begin(listener)
    for n in range(100):
        served.feeds.sound.publish(bytes([n]))
    await asyncio.sleep(0.05)
    assert [listener.get_nowait()[0] for _ in range(listener.qsize())] == list(range(75, 100))


async def test_a_viewer_that_answers_nothing_gets_no_sound_without_end(served: Served) -> None:
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(served.server.url, cookie_jar=jar) as http:
        await http.post("/login", data=CALLERS)
        async with http.ws_connect("/live") as socket:
            await socket.send_str(HEAR)
            for _ in range(UNDER_WAY[FIGURES]):
                await socket.receive(timeout=60)
            async with asyncio.timeout(60):
                while not served.feeds.sound.wanted:
                    await asyncio.sleep(0.01)
            served.feeds.sound.publish(b"sound")
            with pytest.raises(TimeoutError):
                await socket.receive(timeout=0.5)


async def test_a_page_alone_takes_no_calls_and_tells_nobody_its_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    page = Page(page_files(), Feeds(), dict, Controls())
    async with (
        SignalingServer("127.0.0.1", 0, CALLERS, None, page=page, owner=OWNERS) as server,
        aiohttp.ClientSession(server.url) as http,
    ):
        right = {"Authorization": f"Bearer {CALLERS}", "Content-Type": "application/sdp"}
        assert (await http.post("/whip", data="v=0", headers=right)).status == 404
        assert (await http.post("/login", data=OWNERS)).status == 204
        assert find(server.url) is None
