"""The sound of the page in a real browser: heard when its picture is seen, by nobody who has not asked."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from receiver.http.feeds import Feeds
from receiver.http.page_routes import Page
from receiver.http.signaling import SignalingServer
from receiver.sinks.page import PageSink, PageSound
from receiver.web import page_files
from shared.clock import monotonic
from shared.constants import FPS
from shared.media.opus import RATE, Sound
from tests.integration.chromium import Tab, chromium, new_tab
from tests.integration.test_page_in_chromium import IS_LIVE, LIVE, TOKEN

pytestmark = pytest.mark.slow

PERIOD = 24
"""Frames from one flash, which has a beep of 80 ms, to the next."""
PIECE = 960
# In the page: when a beep is heard at the loudspeaker, and when a flash is drawn, by its own clock in ms.
OBSERVER = """
window.heard = []; window.seen = [];
const connect = AudioNode.prototype.connect;
const listeners = new WeakMap();
let silent = true;
AudioNode.prototype.connect = function (to, ...rest) {
  if (to instanceof AudioDestinationNode && !(this instanceof ScriptProcessorNode)) {
    const context = this.context;
    if (!listeners.has(context)) {
      const listener = context.createScriptProcessor(256, 1, 1);
      listener.onaudioprocess = ({ inputBuffer, playbackTime }) => {
        const samples = inputBuffer.getChannelData(0);
        const loud = samples.findIndex((one) => Math.abs(one) > 0.15);
        const onset = playbackTime + loud / context.sampleRate;
        if (loud >= 0 && onset - (window.last ?? -1) > 0.2) {
          const { contextTime, performanceTime } = context.getOutputTimestamp();
          window.heard.push(performanceTime + 1000 * (onset - contextTime));
        }
        if (loud >= 0) window.last = onset;
      };
      listener.connect(context.destination);
      listeners.set(context, listener);
    }
    connect.call(this, listeners.get(context));
  }
  return connect.call(this, to, ...rest);
};
const draw = CanvasRenderingContext2D.prototype.drawImage;
const eye = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
let bright = false;
CanvasRenderingContext2D.prototype.drawImage = function (picture, ...rest) {
  draw.call(this, picture, ...rest);
  if (this.canvas.id !== "video") return;
  eye.drawImage(picture, 0, 0, 1, 1);
  const now = eye.getImageData(0, 0, 1, 1).data[0] > 128;
  if (now && !bright) window.seen.push(performance.now());
  bright = now;
};
"""


class Show:
    """A call that flashes and beeps, as the sinks of a receiver get it."""

    def __init__(self) -> None:
        self.feeds, self.figures = Feeds(), {**LIVE, "sound": True}
        self.pictures, self.sound = PageSink(self.feeds.pictures), PageSound(self.feeds.sound)
        page = Page(page_files(), self.feeds, lambda: self.figures)
        self.server = SignalingServer("127.0.0.1", 0, TOKEN, lambda _: None, page=page)

    async def play(self) -> None:
        start, frame, sample = monotonic(), 0, 0
        dark, light = (np.full((256, 256, 3), level, np.uint8) for level in (20, 230))
        while True:
            now = monotonic() - start
            while frame / FPS <= now:
                self.pictures.write(frame, light if frame % PERIOD < 6 else dark)
                frame += 1
            while sample / RATE - max(self.sound.lead, 0.07) <= now:
                self.sound.hear(sample, beeps(sample), start + sample / RATE)
                sample += PIECE
            await asyncio.sleep(0.005)


def beeps(first: int) -> Sound:
    n = np.arange(first, first + PIECE)
    on = n % (PERIOD * RATE // FPS) < 0.08 * RATE
    return np.asarray(np.where(on, 14000 * np.sin(2 * np.pi * 1000 * n / RATE), 0), np.int16)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with chromium(tmp_path_factory.mktemp("profile")) as address:
        yield address


@asynccontextmanager
async def watching(browser: str) -> AsyncIterator[tuple[Show, Tab]]:
    show = Show()
    async with show.server, new_tab(browser) as tab:
        playing = asyncio.create_task(show.play())
        await tab.tell("Page.addScriptToEvaluateOnNewDocument", source=OBSERVER)
        await tab.size(1200, 900)
        await tab.open(f"{show.server.url}/#{TOKEN}")
        await tab.until(IS_LIVE)
        try:
            yield show, tab
        finally:
            playing.cancel()
            show.sound.close()


async def click(tab: Tab, name: str) -> None:
    """Click as a hand does: browsers play nothing for a click that a script makes."""
    spot = await tab.see(
        f"(({{ x, y, width, height }}) => ({{ x: x + width / 2, y: y + height / 2 }}))"
        f"(document.getElementById({name!r}).getBoundingClientRect())"
    )
    for kind in ("mousePressed", "mouseReleased"):
        await tab.tell("Input.dispatchMouseEvent", type=kind, **spot, button="left", clickCount=1)


async def skews(tab: Tab, least: int) -> np.ndarray:
    """Return how many ms later than its flash each beep was heard, once there are so many."""
    await tab.see("window.heard.length = window.seen.length = 0")
    await tab.until(f"window.heard.length > {least}")
    heard, seen = await tab.see("[window.heard, window.seen]")
    apart = np.subtract.outer(np.array(heard), np.array(seen))
    nearest = apart[np.arange(len(heard)), np.abs(apart).argmin(axis=1)]
    return nearest[np.abs(nearest) < 400]


async def test_beeps_are_heard_with_their_flashes_and_by_nobody_before_a_click(
    browser: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    async with watching(browser) as (show, tab):
        await tab.until("!document.getElementById('hear').hidden")
        assert await tab.text("hear-words") == "Click to hear"
        await asyncio.sleep(0.5)
        assert not show.feeds.sound.wanted
        await click(tab, "hear")
        await tab.until("window.heard.length > 1")
        assert await tab.text("hear-words") == "Sound on"
        found = await skews(tab, 10)
        print(np.round(found))
        assert abs(np.median(found)) < 80
        assert len(found) >= 8
        await click(tab, "hear")
        await tab.until("document.getElementById('hear-words').textContent == 'Click to hear'")
        for _ in range(100):
            await asyncio.sleep(0.02)
            if not show.feeds.sound.wanted:
                break
        assert not show.feeds.sound.wanted
        assert tab.errors == []
