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
INSECURE = "Object.defineProperty(window, 'isSecureContext', { value: false })"
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
async def watching(browser: str, before: str = OBSERVER) -> AsyncIterator[tuple[Show, Tab]]:
    """Watch in a page that runs the script `before` its own."""
    show = Show()
    async with show.server, new_tab(browser) as tab:
        playing = asyncio.create_task(show.play())
        await tab.command("Page.addScriptToEvaluateOnNewDocument", source=before)
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
        await tab.command("Input.dispatchMouseEvent", type=kind, **spot, button="left", clickCount=1)


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
        # A machine that has much else to do may need a few more.
        for _ in range(6):
            found = await skews(tab, 6)
            if len(found) >= 5 and abs(np.median(found)) < 80:
                break
        assert len(found) >= 5
        assert abs(np.median(found)) < 80
        await click(tab, "hear")
        await tab.until("document.getElementById('hear-words').textContent == 'Click to hear'")
        async with asyncio.timeout(60):
            while show.feeds.sound.wanted:
                await asyncio.sleep(0.02)
        # The observer's own part is of the past, and the browser says so.
        assert [error for error in tab.errors if "ScriptProcessorNode" not in error] == []


@pytest.mark.parametrize(("before", "words"), [
    ("delete window.AudioDecoder", "cannot play it"),
    (f"delete window.AudioDecoder; {INSECURE}", "https"),
])  # fmt: skip
async def test_a_browser_that_cannot_play_it_says_so(
    browser: str, before: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    async with watching(browser, before) as (_, tab):
        await tab.until("document.getElementById('deaf').checkVisibility()")
        assert words in await tab.text("deaf")
        assert not await tab.see("document.getElementById('hear').checkVisibility()")
        assert tab.errors == []


# Three minutes in no time: the page's own code, and clocks, a decoder and a loudspeaker that are made up.
DRIFTING = """
(async () => {
  const { Sound } = await import("/sound.js");
  const { Timeline } = await import("/timeline.js");
  const [LATENCY, FAR, SLOW, SECONDS] = [0.035, 0.9999, 0.9997, 180];
  let now = 0, seed = 1;
  const chance = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  performance.now = () => now;
  const played = [];
  let at = 0;
  window.AudioContext = class {
    destination = {};
    get currentTime() { return (now / 1000) * SLOW; }
    getOutputTimestamp() { return { contextTime: this.currentTime - LATENCY, performanceTime: now }; }
    createBuffer(_, count, rate) { return { duration: count / rate, copyToChannel() {} }; }
    async resume() {}
    close() {}
  };
  window.EncodedAudioChunk = class {};
  window.AudioDecoder = class {
    state = "configured";
    constructor({ output }) { this.output = output; }
    configure() {}
    decode() { this.output({ numberOfFrames: 960, timestamp: 0, copyTo() {}, close() {} }); }
    close() {}
  };
  window.AudioBufferSourceNode = class {
    playbackRate = { value: 1 };
    constructor(_, { buffer }) { this.buffer = buffer; }
    connect() {}
    start(when, skip) {
      const end = when + (this.buffer.duration - skip) / this.playbackRate.value;
      const heard = ((when - skip + LATENCY) / SLOW) * 1000;
      played.push({ when, end, off: heard - timeline.here(at) - sound.delay, delay: sound.delay });
    }
  };
  const timeline = new Timeline(), sound = new Sound();
  await sound.start();
  sound.follow(timeline);
  let came = 0, last = 0;
  for (let sent = 1000; sent < 1000 * SECONDS; sent += 20) {
    // Only in the first minute there are pauses and losses, after which things find together by themselves.
    if (sent < 60000 && (chance() < 0.03 || sent % 10000 < 1000)) continue;
    last = now = Math.max(last, sent * FAR + 5 + 20 * chance() ** 2);
    at = sent + 40;
    timeline.came(sent);
    sound.take(at, new ArrayBuffer(60));
    came++;
  }
  const late = played.slice(250);
  const third = Math.floor(late.length / 3);
  return {
    came, played: played.length,
    overlap: Math.min(...played.slice(1).map((one, n) => one.when - played[n].end)),
    off: Math.max(...late.map(({ off }) => Math.abs(off))),
    first: late[third].delay, last: late.at(-1).delay,
  };
})()
"""


async def test_clocks_that_drift_apart_move_nothing_in_minutes(
    browser: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    async with Show().server as server, new_tab(browser) as tab:
        await tab.open(server.url)
        await tab.until("document.body.dataset.state == 'token'")
        found = await tab.see(DRIFTING)
    # 400 ppm are 72 ms in three minutes; a hundred is what devices have.
    assert found["off"] < 30, found
    assert found["played"] > 0.95 * found["came"]
    assert found["overlap"] > -1e-6
    assert found["last"] < found["first"] + 5 < 80, found
