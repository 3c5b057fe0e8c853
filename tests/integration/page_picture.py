"""`python -m tests.integration.page_picture docs/page.png`: the README's picture of the viewer page.

A real call of the drawn portrait on this machine, both commands as people type them, after a minute. It waits
for a moment in which the machine keeps up, and takes the widest mouth of the next seconds; on a busy machine
the picture shows that it did not keep up.
"""

import asyncio
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from tests.integration.chromium import Tab, chromium, new_tab

TOKEN = "correct-horse"
MINUTE, PATIENCE, IN_TIME = 60, 60, 29.0
MAX_BYTES = 250_000
TAKEN, MOUTH = 15, (370, 400, 480, 465)


async def picture(folder: Path) -> bytes:
    """Return a PNG of the page amid a call."""
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder)}

    def command(*words: str) -> subprocess.Popen[str]:
        made = [sys.executable, "-m", *words, "--token", TOKEN]
        return subprocess.Popen(made, env=environment, stdout=subprocess.PIPE, text=True)

    receiver = command("receiver", "--view", "web", "--listen", "127.0.0.1:0")
    running = [receiver]
    try:
        assert receiver.stdout is not None
        watched = next(line for line in receiver.stdout if line.startswith("to watch"))
        address = watched.split()[-1].partition("/#")[0]
        with chromium(folder / "profile") as browser:
            async with new_tab(browser) as tab:
                await tab.size(1280, 740)
                # What glides costs a browser without a graphics card time that the call needs.
                await tab.prefer(reduced_motion="reduce")
                await tab.open(f"{address}/#{TOKEN}")
                running.append(command("sender", "--source", "demo", "--loop", "--connect", address))
                await tab.until("document.body.dataset.state == 'live'")
                await asyncio.sleep(MINUTE)
                return await good_moment(tab)
    finally:
        for process in running:
            process.kill()
            process.communicate()


async def good_moment(tab: Tab) -> bytes:
    for _ in range(2 * PATIENCE):
        if float(await tab.text("fps_shown")) >= IN_TIME:
            break
        await asyncio.sleep(0.5)
    print(f"{await tab.text('fps_shown')} fps in time, latency {await tab.text('latency_ms')} ms")
    taken = []
    for _ in range(TAKEN):
        taken.append(await tab.picture())
        await asyncio.sleep(0.3)
    return min(taken, key=mouth)


def mouth(taken: bytes) -> float:
    """Return how dark it is where the mouth is: an open one is darkest."""
    with Image.open(io.BytesIO(taken)) as image:
        return float(np.percentile(np.asarray(image.convert("L").crop(MOUTH)), 5))


def main() -> None:
    """Write the picture to the path given, in 256 colours."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        taken = asyncio.run(picture(Path(folder)))
    with Image.open(io.BytesIO(taken)) as image:
        whole = image.convert("RGB")
        # This method keeps colours that are rare, such as those of the legends; only a given palette is
        # dithered, and without that what is dim has edges.
        palette = whole.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3)
        small = whole.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    small.save(sys.argv[1], optimize=True)
    assert Path(sys.argv[1]).stat().st_size < MAX_BYTES


if __name__ == "__main__":
    main()
