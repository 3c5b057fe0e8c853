"""The page of an end that sends as well, in a real browser: buttons, keys, oneself in a mirror."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from receiver.http.feeds import Feeds
from receiver.http.page_routes import Page
from receiver.http.signaling import SignalingServer
from receiver.sinks.page import PageSink
from receiver.sinks.self_view import SelfView
from receiver.web import page_files
from shared.runtime.controls import Choices, Controls
from tests.integration.chromium import Tab, chromium, new_tab
from tests.integration.test_page_in_chromium import IS_LIVE, LIVE, MOVING, TOKEN

pytestmark = pytest.mark.slow

OWNERS = "battery-staple"


class End:
    """An end that shows grey, and whose own camera sees red on its left and green on its right."""

    def __init__(self) -> None:
        self.feeds, self.controls, self.figures = Feeds(), Controls(), dict(LIVE)
        page = Page(page_files(), self.feeds, lambda: self.figures, self.controls)
        self.server = SignalingServer("127.0.0.1", 0, TOKEN, lambda _: None, page=page, owner=OWNERS)
        self.hung_up: list[bool] = []
        self.controls.on_hang_up(lambda: self.hung_up.append(True))

    async def play(self) -> None:
        sink, oneself = PageSink(self.feeds.pictures), SelfView(self.controls, self.feeds.own_pictures)
        seen = np.zeros((384, 384, 3), np.uint8)
        seen[:, :192, 0] = seen[:, 192:, 1] = 220
        while True:
            sink.write(0, np.full((384, 384, 3), 90, np.uint8))
            oneself.update(seen)
            await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with chromium(tmp_path_factory.mktemp("profile")) as address:
        yield address


@asynccontextmanager
async def opened(browser: str, token: str) -> AsyncIterator[tuple[End, Tab]]:
    end = End()
    async with end.server, new_tab(browser) as tab:
        playing = asyncio.create_task(end.play())
        await tab.size(1200, 900)
        await tab.open(f"{end.server.url}/#{token}")
        await tab.until(f"{IS_LIVE} && {MOVING}")
        try:
            yield end, tab
        finally:
            playing.cancel()


@pytest.fixture(autouse=True)
def private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


async def press(tab: Tab, key: str, **named: object) -> None:
    for kind in ("keyDown", "keyUp"):
        await tab.command("Input.dispatchKeyEvent", type=kind, key=key, text=key, **named)


async def until(end: End, choices: Choices) -> None:
    async with asyncio.timeout(20):
        while end.controls.choices != choices:
            await asyncio.sleep(0.02)


def pressed(word: str) -> str:
    return f"document.querySelector('[data-word={word}]').getAttribute('aria-pressed')"


VISIBLE = "document.getElementById({!r}).checkVisibility()"


async def test_keys_and_buttons_do_what_they_say_and_show_how_it_stands(browser: str) -> None:
    async with opened(browser, OWNERS) as (end, tab):
        await tab.until(VISIBLE.format("controls"))
        await press(tab, "m")
        await until(end, Choices(muted=True))
        await tab.until(f"{pressed('mute')} == 'true'")
        assert await tab.text("self-words") == "Muted"
        await tab.see("document.querySelector('[data-word=hold]').click()")
        await until(end, Choices(muted=True, held=True))
        await tab.until("document.getElementById('self-words').textContent == 'On hold'")
        await press(tab, "p")
        await until(end, Choices(muted=True, held=True, shows_self=False))
        await tab.until("document.getElementById('self-words').textContent == 'You are on hold'")
        assert not await tab.see(VISIBLE.format("self-video"))
        # A held key, and one that means something else, change nothing.
        await press(tab, "v", autoRepeat=True, modifiers=0)
        await press(tab, "m", modifiers=2)
        await press(tab, "v")
        await until(end, Choices(muted=True, shows_self=False))
        assert not end.hung_up
        await tab.see("document.querySelector('.end').click()")
        async with asyncio.timeout(20):
            while not end.hung_up:
                await asyncio.sleep(0.02)
        assert tab.errors == []


async def test_one_sees_oneself_as_in_a_mirror(browser: str) -> None:
    async with opened(browser, OWNERS) as (_, tab):
        await tab.until("document.getElementById('self').dataset.picture == 'some'")
        # As it is sent in the canvas; turned by the style sheet.
        left = "[...document.getElementById('self-video').getContext('2d').getImageData(20, 90, 1, 1).data]"
        assert (await tab.see(left))[0] > 180
        turned = "getComputedStyle(document.getElementById('self-video')).transform"
        assert await tab.see(turned) == "matrix(-1, 0, 0, 1, 0, 0)"
        # The call's picture is as large as it comes.
        assert await tab.see("document.getElementById('video').width") == 384
        assert tab.errors == []


async def test_the_other_side_is_told_of(browser: str) -> None:
    async with opened(browser, OWNERS) as (end, tab):
        assert not await tab.see(VISIBLE.format("peer"))
        end.figures.update(peer_muted=True)
        await tab.until(
            f"{VISIBLE.format('peer')} && document.getElementById('peer-words').textContent == 'Muted'"
        )
        end.figures.update(state="on hold", peer_held=True)
        await tab.until("document.body.dataset.state == 'on hold'")
        assert await tab.see("document.body.dataset.picture") == "still"
        assert await tab.text("invitation") == "On hold"
        end.figures.update(state="live", peer_held=False, peer_muted=False)
        await tab.until(f"{MOVING} && !{VISIBLE.format('peer')}")
        assert tab.errors == []


async def test_who_only_watches_has_no_buttons_no_keys_and_sees_nobody_but_the_call(browser: str) -> None:
    async with opened(browser, TOKEN) as (end, tab):
        for name in ("controls", "self"):
            assert not await tab.see(VISIBLE.format(name))
        for key in "mvpq":
            await press(tab, key)
        await asyncio.sleep(0.5)
        assert end.controls.choices == Choices()
        assert end.hung_up == []
        assert await tab.see(IS_LIVE)
        assert not end.feeds.own_pictures.wanted
        assert tab.errors == []


# Whether all of it is inside of the picture, how much of it crosses, and the page's width.
LAID_OUT = (
    "(() => { const all = ['self', 'peer', 'self-words', 'hear', 'full',"
    "  ...document.querySelectorAll('[data-word]')].map((one) =>"
    "    (one.id === undefined ? document.getElementById(one) : one).getBoundingClientRect());"
    "const screen = document.getElementById('screen').getBoundingClientRect();"
    "const inside = all.every((r) => r.left >= screen.left && r.right <= screen.right"
    "  && r.top >= screen.top && r.bottom <= screen.bottom);"
    "const cross = (a, b) =>"
    "  a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;"
    "const clash = all.slice(1).filter((a, n) => all.slice(n + 2).some((b) => cross(a, b))).length;"
    "return [inside, clash, document.documentElement.scrollWidth]; })()"
)


async def test_on_a_phone_all_of_it_fits_on_the_picture(browser: str) -> None:
    async with opened(browser, OWNERS) as (end, tab):
        end.figures.update(sound=True, peer_muted=True)
        end.controls.toggle_hold()
        await tab.size(360, 780, phone=True)
        await tab.until("document.getElementById('self-words').textContent == 'On hold'")
        await tab.until(VISIBLE.format("hear"))
        assert await tab.see(LAID_OUT) == [True, 0, 360]
        end.controls.toggle_self_view()
        await tab.until("document.getElementById('self-words').textContent == 'You are on hold'")
        assert await tab.see(LAID_OUT) == [True, 0, 360]
