"""The viewer page as people meet it, in a real browser."""

import asyncio
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from receiver import app as receiver_app
from receiver.http.feeds import Feeds
from receiver.http.page_routes import Page
from receiver.http.signaling import SignalingServer
from receiver.live import listening
from receiver.options import ReceiverOptions
from receiver.sinks.page import PageSink
from receiver.web import page_files
from sender import app as sender_app
from sender.options import SenderOptions
from tests.integration.chromium import REBOUND, Tab, chromium, new_tab

pytestmark = pytest.mark.slow

TOKEN = "correct-horse"
LIVE: dict[str, Any] = {
    **listening(),
    "state": "live",
    "phase": "in a call",
    "seconds": 65.0,
    "payload_kbps": 1.6,
    "pictures_kbps": 0.5,
    "overhead_kbps": 7.9,
    "ip_kbps": 2.8,
    "ice_kbps": 0.1,
    "fps_shown": 30.0,
    "latency_ms": 142.0,
    "frame": 1950,
    "strip": "oooooofffiihhhhhhhhh" * 6,
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with chromium(tmp_path_factory.mktemp("profile")) as address:
        yield address


class Receiver:
    """A receiver's HTTP side, and a call of which everything can be made up."""

    def __init__(self, host: str, port: int = 0, token: str = TOKEN) -> None:
        self.feeds = Feeds()
        self.audience = self.feeds.pictures
        self.figures = dict(LIVE)
        page = Page(page_files(), self.feeds, lambda: self.figures)
        self.said: list[str] = []
        self.server = SignalingServer(host, port, token, lambda _: None, say=self.said.append, page=page)

    async def play(self) -> None:
        """Show grey frames, each brighter than the one before, and count them in the figures."""
        sink, number = PageSink(self.audience), 0
        while True:
            number += 1
            sink.write(number, np.full((256, 256, 3), number * 8 % 256, np.uint8))
            self.figures["frame"] += 1
            self.figures["seconds"] = number / 25
            await asyncio.sleep(0.04)


@asynccontextmanager
async def receiving(host: str = "127.0.0.1", port: int = 0, token: str = TOKEN) -> AsyncIterator[Receiver]:
    receiver = Receiver(host, port, token)
    async with receiver.server:
        playing = asyncio.create_task(receiver.play())
        try:
            yield receiver
        finally:
            playing.cancel()


@pytest.fixture(autouse=True)
def private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@asynccontextmanager
async def watching(browser: str) -> AsyncIterator[tuple[Receiver, Tab]]:
    async with receiving() as receiver, new_tab(browser) as tab:
        await tab.open(f"{receiver.server.url}/#{TOKEN}")
        await tab.until(IS_LIVE)
        yield receiver, tab


IS_LIVE = "document.body.dataset.state == 'live'"
MOVING = "document.body.dataset.picture == 'moving'"
# Of the whole picture, through a canvas of our own: reading the page's would slow it down.
BRIGHTNESS = (
    "(() => { const pen = new OffscreenCanvas(64, 64).getContext('2d', { willReadFrequently: true });"
    "pen.drawImage(document.getElementById('video'), 0, 0, 64, 64);"
    "return pen.getImageData(0, 0, 64, 64).data.reduce((sum, one) => sum + one, 0); })()"
)


COUNTED = (
    "(() => { const { start } = AudioBufferSourceNode.prototype; window.played = 0;"
    "AudioBufferSourceNode.prototype.start = function (...when) {"
    "  window.played++; return start.apply(this, when); }; })()"
)


async def assert_moving(tab: Tab) -> None:
    await tab.until(MOVING)
    before = await tab.see(BRIGHTNESS)
    await tab.until(f"{BRIGHTNESS} != {before}")


async def test_the_printed_address_opens_a_moving_call(browser: str) -> None:
    async with watching(browser) as (receiver, tab):
        await assert_moving(tab)
        assert await tab.see("location.href") == f"{receiver.server.url}/"
        assert await tab.see("document.title") == "keycast – live"
        assert await tab.text("total") == "10.0"
        assert "50 times" in await tab.text("saving")
        values = {"payload_kbps": "1.6", "audio_kbps": "0.0", "fps_shown": "30.0", "latency_ms": "142"}
        assert {name: await tab.text(name) for name in values} == values
        assert [await tab.text(kind) for kind in ("observed", "forecast", "interpolated", "held")] == [
            "30 %", "15 %", "10 %", "45 %",
        ]  # fmt: skip
        # What the overhead is opens with a click.
        seen = "document.querySelector('.causes dl').checkVisibility()"
        assert not await tab.see(seen)
        await tab.see("document.querySelector('.causes summary').click()")
        assert await tab.see(seen)
        assert [await tab.text(f"{cause}_kbps") for cause in ("ip", "ice", "headers")] == [
            "2.8",
            "0.1",
            "0.0",
        ]
        receiver.figures.update(fps_shown=24.0, loss_percent=3.2, overhead_kbps=98.0)
        await tab.until("document.getElementById('fps_shown').textContent == '24.0'")
        assert await tab.text("loss_percent") == "3.2"
        assert await tab.text("total") == "100"
        before = await tab.text("length")
        await tab.until(f"document.getElementById('length').textContent != '{before}'")
        drawn = "[...document.querySelectorAll('.plot path')].filter((one) => one.getAttribute('d')).length"
        assert await tab.see(drawn) == 10
        assert tab.hosts == {f"127.0.0.1:{receiver.server.port}"}
        assert all(TOKEN not in url for url in tab.asked[1:])
        assert tab.errors == []
        assert receiver.said == []


async def test_a_latency_that_the_clocks_make_nonsense_of_is_a_dash(browser: str) -> None:
    async with watching(browser) as (receiver, tab):
        await tab.until("document.getElementById('latency_ms').textContent == '142'")
        assert await tab.see("document.getElementById('clocks').hidden")
        receiver.figures.update(latency_ms=None, clocks_apart_s=7200.0)
        await tab.until("document.getElementById('latency_ms').textContent == '–'")
        assert not await tab.see("document.getElementById('clocks').hidden")
        assert tab.errors == []


async def test_signing_in_by_hand_beyond_this_machine(browser: str) -> None:
    own = own_address()
    if own is None:
        pytest.skip("this machine has no address of its own")
    async with receiving("0.0.0.0") as receiver, new_tab(browser) as tab:
        await tab.open(f"http://{own}:{receiver.server.port}/")
        await tab.until("document.body.dataset.state == 'token'")
        assert await tab.see("document.activeElement.id") == "token"
        assert not receiver.audience.wanted
        await enter(tab, "guess")
        await tab.until("document.getElementById('refusal').textContent.includes('not this receiver')")
        await enter(tab, TOKEN)
        await tab.until(IS_LIVE)
        await assert_moving(tab)
        # Scripts cannot read the cookie; a reload needs no token.
        assert await tab.see("document.cookie") == ""
        await tab.command("Page.reload")
        await tab.until(f"document.readyState == 'complete' && {IS_LIVE}")
        assert tab.hosts == {f"{own}:{receiver.server.port}"}
        assert [error for error in tab.errors if "401" not in error] == []


async def test_an_address_that_was_cut_or_mistyped_asks_for_the_token(browser: str) -> None:
    async with new_tab(browser) as tab:
        for fragment in ("%", "50%off", "%E4", "%ED%A0%80", f"{TOKEN}%"):
            # Somebody new each time, at a receiver that has heard no wrong token yet.
            await tab.command("Network.clearBrowserCookies")
            async with receiving() as receiver:
                await tab.open(f"{receiver.server.url}/#{fragment}")
                await tab.until("document.body.dataset.state == 'token'")
                assert await tab.see("location.href") == f"{receiver.server.url}/", fragment
                await enter(tab, TOKEN)
                await tab.until(IS_LIVE)
                await tab.open("about:blank")
        assert [error for error in tab.errors if "401" not in error] == []


async def test_a_token_with_signs_is_taken_as_printed_and_as_typed(browser: str) -> None:
    token = "50%-of=it?"
    async with receiving(token=token) as receiver:
        for fragment in (token, quote(token, safe="")):
            async with new_tab(browser) as tab:
                await tab.open(f"{receiver.server.url}/#{fragment}")
                await tab.until(IS_LIVE)


async def test_a_site_whose_name_is_pointed_here_can_do_nothing(browser: str) -> None:
    """DNS rebinding: to the browser its pages and this receiver are one origin."""
    ask = (
        "fetch('{path}', {{ method: '{method}', headers: {{ Authorization: 'Bearer guess' }} }})"
        ".then((answer) => answer.status)"
    )
    async with receiving() as receiver, new_tab(browser) as tab:
        await tab.open(f"http://{REBOUND}:{receiver.server.port}/")
        for _ in range(6):
            for method, path in (
                ("GET", "/session"),
                ("GET", "/stats"),
                ("POST", "/whip"),
                ("POST", "/login"),
            ):
                assert await tab.see(ask.format(method=method, path=path)) == 421
        # Nor has it used up anybody's attempts.
        await tab.open(f"{receiver.server.url}/#{TOKEN}")
        await tab.until(IS_LIVE)
        assert receiver.said == []


async def enter(tab: Tab, word: str) -> None:
    await tab.see("document.getElementById('token').select()")
    await tab.command("Input.insertText", text=word)
    await tab.see("document.querySelector('#sign-in button').click()")


def own_address() -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])


async def test_the_page_comes_back_with_the_receiver(browser: str) -> None:
    async with AsyncExitStack() as stack, new_tab(browser) as tab:
        first = await stack.enter_async_context(receiving())
        port = first.server.port
        await tab.open(f"{first.server.url}/#{TOKEN}")
        await assert_moving(tab)
        assert tab.errors == []
        await stack.aclose()
        await tab.until("document.body.dataset.state == 'none'")
        assert await tab.text("state") == "No receiver"
        assert "trying again" in await tab.text("meaning")
        assert await tab.see("document.body.dataset.picture") == "still"
        assert await tab.text("fps_shown") == "–"
        async with receiving(port=port):
            await tab.until(IS_LIVE)
            await assert_moving(tab)
        # What it says of the time without a receiver is the browser's own, not the page's.
        assert all("ERR_CONNECTION_REFUSED" in error or "ERR_" in error for error in tab.errors)


async def test_every_state_is_told_to_eyes_and_ears(browser: str) -> None:
    async with watching(browser) as (receiver, tab):
        for state, phase, words in [
            ("forecasting", "in a call", "nothing has come"),
            ("stalled", "connecting again", "connection is lost"),
            ("stalled", "in a call", "holding the last picture"),
            ("listening", "", "sender --source demo"),
            ("connecting", "in a call", "somebody is calling"),
        ]:
            receiver.figures.update(state=state, phase=phase)
            await tab.until(f"document.body.dataset.state == '{state}'")
            await tab.until(f"document.body.innerText.toLowerCase().includes('{words}')")
        await tab.until("document.getElementById('spoken').textContent.startsWith('Connecting')")
        assert await tab.see("document.getElementById('spoken').getAttribute('role')") == "status"
        unnamed = (
            "[...document.querySelectorAll('[role=img], button, input')].filter((one) => !("
            "one.getAttribute('aria-label') || one.textContent.trim() || one.labels?.length)).length"
        )
        assert await tab.see(unnamed) == 0
        assert tab.errors == []


async def test_a_phone_in_the_dark(browser: str) -> None:
    async with watching(browser) as (receiver, tab):
        await tab.size(360, 780, phone=True)
        light = await tab.see("getComputedStyle(document.body).backgroundColor")
        await tab.prefer(color_scheme="dark", reduced_motion="reduce")
        assert await tab.see("getComputedStyle(document.body).backgroundColor") != light
        for state in ("live", "stalled", "forecasting", "listening", "connecting"):
            receiver.figures["state"] = state
            await tab.until(f"document.body.dataset.state == '{state}'")
            assert await tab.see("document.documentElement.scrollWidth") == 360
            assert await tab.see("document.getAnimations().length") == 0
        receiver.figures.update(LIVE)
        await tab.until(MOVING)
        assert await tab.see("document.getElementById('screen').clientWidth") > 300


async def test_words_and_frames_can_be_told_apart(browser: str) -> None:
    """Contrast as WCAG 2.1 has it (1.4.3: 4.5 to 1 for text), and four colours of four heights."""
    async with watching(browser) as (_, tab):
        for scheme in ("light", "dark"):
            await tab.prefer(color_scheme=scheme, reduced_motion="reduce")
            await assert_told_apart(tab)


async def assert_told_apart(tab: Tab) -> None:
    colours = await tab.see(
        "Object.fromEntries(['paper', 'card', 'ink', 'soft', 'alarm', 'observed', 'forecast',"
        "'interpolated', 'held'].map((name) => [name,"
        "getComputedStyle(document.body).getPropertyValue('--' + name).trim()]))"
    )
    for text in ("ink", "soft", "alarm"):
        for ground in ("paper", "card"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    await asyncio.sleep(0.5)
    bars = await tab.see(
        "(() => { const c = document.getElementById('strip'), g = c.getContext('2d'), found = {};"
        "for (let x = 0; x < c.width; x++) { let tall = 0, colour = '';"
        "  for (let y = 0; y < c.height; y++) { const p = g.getImageData(x, y, 1, 1).data;"
        "    if (p[3] == 255) { tall++; colour = [...p.slice(0, 3)].join(); } }"
        "  if (colour) (found[colour] ??= new Set()).add(tall); }"
        "return Object.fromEntries(Object.entries(found).map(([k, v]) => [k, [...v]])); })()"
    )
    kinds = [
        ",".join(map(str, rgb(colours[kind]))) for kind in ("observed", "interpolated", "forecast", "held")
    ]
    assert set(bars) == set(kinds)
    heights = [bars[kind] for kind in kinds]
    assert all(len(one) == 1 for one in heights)
    assert [one[0] for one in heights] == sorted((one[0] for one in heights), reverse=True)
    assert len({one[0] for one in heights}) == 4


def rgb(colour: str) -> tuple[int, int, int]:
    assert len(colour) == 7
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def contrast(one: str, other: str) -> float:
    linear = [np.where((c := np.array(rgb(x)) / 255) <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
              for x in (one, other)]  # fmt: skip
    low, high = sorted(float(part @ [0.2126, 0.7152, 0.0722]) for part in linear)
    return (high + 0.05) / (low + 0.05)


async def test_a_page_that_nobody_looks_at_costs_nothing(browser: str) -> None:
    async with watching(browser) as (receiver, tab):
        await assert_moving(tab)
        await tab.see(
            "Object.defineProperty(document, 'hidden', { configurable: true, get: () => true });"
            "document.dispatchEvent(new Event('visibilitychange'))"
        )
        for _ in range(100):
            await asyncio.sleep(0.05)
            if not receiver.audience.wanted:
                break
        await asyncio.sleep(0.3)
        assert not receiver.audience.wanted
        await tab.see("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
        await assert_moving(tab)


async def test_a_real_call(browser: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Both ends as their commands run them, over a real connection."""
    receiving = ReceiverOptions(
        host="127.0.0.1", port=0, token=TOKEN, view="web", speaker="none", forecaster="hold"
    )
    async with AsyncExitStack() as stack, new_tab(browser) as tab:
        await stack.enter_async_context(running(receiver_app.run(receiving)))
        url = await announced(capsys)
        calling = SenderOptions("demo", url, TOKEN, loop=True, audio="auto")
        await tab.open(f"{url}/#{TOKEN}")
        await tab.until("document.body.dataset.state == 'listening'")
        await stack.enter_async_context(running(sender_app.run(calling)))
        await tab.until(f"{MOVING} && Number(document.getElementById('payload_kbps').textContent) > 0")
        await assert_moving(tab)
        before = await tab.text("payload_kbps")
        await tab.until(f"document.getElementById('payload_kbps').textContent != '{before}'")
        # With sound there may be time enough to wait for what is sent, and nothing is forecast.
        assert await tab.text("observed") != "0 %"
        filled = "['interpolated', 'forecast'].some(id => document.getElementById(id).textContent != '0 %')"
        await tab.until(filled)
        # There is a voice, for who asks for it.
        await tab.until("document.getElementById('hear').checkVisibility()")
        await tab.see(COUNTED)
        click = "document.getElementById('hear').click()"
        await tab.command("Runtime.evaluate", expression=click, userGesture=True)
        await tab.until("window.played > 20")
        assert tab.hosts == {url.removeprefix("http://")}
        assert tab.errors == []


@asynccontextmanager
async def running(work: Coroutine[Any, Any, int]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def announced(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the address that a receiver tells senders, once it has."""
    said = ""
    async with asyncio.timeout(90):
        while "--connect " not in said:
            await asyncio.sleep(0.1)
            said += capsys.readouterr().out
    return said.partition("--connect ")[2].split()[0]
