"""A coturn of a test's own, at a port that nobody else has."""

import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

SECONDS = 120.0
TRIES = 10


def start_coturn(words: Callable[[int], list[str]], log: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start what `words` says for a port, in the folder of its `log`; return it and its port once it listens.

    coturn takes no port 0. From these, systems give none to those who ask for any, but others may have taken
    one: it then tries without end, and is given another.
    """
    for _ in range(TRIES):
        port = random.randrange(20_000, 32_000)
        with log.open("wb") as out:
            process = subprocess.Popen(words(port), stdout=out, stderr=out, cwd=log.parent)
        if _listens(process, log):
            return process, port
        process.kill()
        process.wait()
    raise AssertionError(log.read_text(errors="replace"))


def _listens(process: subprocess.Popen[bytes], log: Path) -> bool:
    """Whether it does, once it has said so or cannot."""
    deadline = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        said = log.read_bytes()
        if b"Cannot bind" in said:
            return False
        if b"DB connection success" in said:
            # The threads behind it are there a little later.
            time.sleep(0.2)
            return True
        time.sleep(0.05)
    return False
