"""A real browser, driven over its own DevTools protocol."""

import asyncio
import base64
import itertools
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

REBOUND = "rebound.example"
# Everything by which it would talk to anybody but the page's own server, or want a screen.
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--metrics-recording-only",
    "--no-first-run",
    "--no-proxy-server",
    "--mute-audio",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    # A site whose owner has pointed its name at this machine.
    f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1",
)
START_SECONDS = 120.0
WAIT_SECONDS = 90.0


@contextmanager
def chromium(folder: Path) -> Iterator[str]:
    """Run a browser with a new profile in `folder`; give its DevTools' address. Skip where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("needs Chromium")
    quiet = subprocess.DEVNULL
    words = [program, *OPTIONS, f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(words, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        said, deadline = folder / "DevToolsActivePort", time.monotonic() + START_SECONDS
        while not said.exists() or len(said.read_text().splitlines()) < 2:
            assert process.poll() is None, "Chromium ended at once"
            assert time.monotonic() < deadline, "Chromium does not start"
            time.sleep(0.05)
        port, path = said.read_text().splitlines()[:2]
        yield f"ws://127.0.0.1:{port}{path}"
    finally:
        process.terminate()
        process.wait(10)


@dataclass
class Tab:
    """One page, with cookies of its own. `asked`: the URLs it asked for; `errors`: what its console told."""

    _socket: aiohttp.ClientWebSocketResponse
    _session: str = ""
    asked: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _answers: dict[int, asyncio.Future[Any]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def command(self, method: str, **named: Any) -> Any:
        """Send a command and return its result."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": named}
        await self._socket.send_json({**message, "sessionId": self._session} if self._session else message)
        try:
            return await asyncio.wait_for(self._answers[number], WAIT_SECONDS)
        finally:
            del self._answers[number]

    async def listen(self) -> None:
        """Take in what the browser says, until it is closed."""
        async for message in self._socket:
            said = message.json()
            waiting = self._answers.get(said.get("id", 0))
            if waiting is not None and not waiting.done():
                waiting.set_result(said.get("result", said.get("error")))
            self._happened(said.get("method", ""), said.get("params", {}))

    def _happened(self, method: str, said: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.asked.append(said["request"]["url"])
        elif method == "Network.webSocketCreated":
            self.asked.append(said["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(str(said["exceptionDetails"]))
        elif method == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
            self.errors.append(f"{said['entry']['text']} {said['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning", "assert"):
            self.errors.append(str(said["args"]))

    @property
    def hosts(self) -> set[str]:
        """Whom the page has asked for anything."""
        return {urlsplit(url).netloc for url in self.asked if not url.startswith(("data:", "blob:"))}

    async def open(self, url: str) -> None:
        """Go to `url` and wait until all of it has come."""
        await self.command("Page.navigate", url=url)
        await self.until("document.readyState == 'complete'")

    async def see(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        answer = await self.command(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, script: str) -> Any:
        """Wait until an expression in the page is true; return it."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not (value := await self.see(script)):
            assert time.monotonic() < deadline, (
                f"{script}: never; {await self.see('document.body?.innerText')}"
            )
            await asyncio.sleep(0.05)
        return value

    async def text(self, name: str) -> str:
        """Return what the element of that id says."""
        return str(await self.see(f"document.getElementById({name!r}).textContent"))

    async def size(self, width: int, height: int, *, phone: bool = False) -> None:
        """Be as large as that, in CSS pixels; a phone has two to each and is touched."""
        await self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone,
        )  # fmt: skip
        await self.command("Emulation.setTouchEmulationEnabled", enabled=phone)

    async def prefer(self, **features: str) -> None:
        """Have the user want, say, `color_scheme="dark"`."""
        wanted = [{"name": f"prefers-{name.replace('_', '-')}", "value": v} for name, v in features.items()]
        await self.command("Emulation.setEmulatedMedia", features=wanted)

    async def picture(self) -> bytes:
        """Return a PNG of what is to be seen."""
        return base64.b64decode((await self.command("Page.captureScreenshot", format="png"))["data"])


@asynccontextmanager
async def new_tab(address: str) -> AsyncIterator[Tab]:
    """Open a tab in the browser at `address`, and close it in the end."""
    async with aiohttp.ClientSession() as http, http.ws_connect(address, max_msg_size=0) as socket:
        tab = Tab(socket)
        listening = asyncio.create_task(tab.listen())
        context = (await tab.command("Target.createBrowserContext", disposeOnDetach=True))["browserContextId"]
        made = await tab.command("Target.createTarget", url="about:blank", browserContextId=context)
        attached = await tab.command("Target.attachToTarget", targetId=made["targetId"], flatten=True)
        tab._session = attached["sessionId"]
        for part in ("Page", "Runtime", "Network", "Log"):
            await tab.command(f"{part}.enable")
        try:
            yield tab
        finally:
            tab._session = ""
            await tab.command("Target.disposeBrowserContext", browserContextId=context)
            listening.cancel()
