"""The window, on a virtual screen where one can be had."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import numpy as np
import pytest

from receiver.sinks.window import WindowSink
from shared.errors import RequestError

PICTURE = np.full((256, 256, 3), 90, np.uint8)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A virtual screen of its own."""
    if shutil.which("Xvfb") is None:
        pytest.skip("there is no Xvfb")
    reader, writer = os.pipe()
    command = ["Xvfb", "-displayfd", str(writer), "-screen", "0", "640x640x24"]
    server = subprocess.Popen(command, pass_fds=[writer], stderr=subprocess.DEVNULL)
    os.close(writer)
    with os.fdopen(reader) as numbers:
        display = f":{numbers.readline().strip()}"
    monkeypatch.setenv("DISPLAY", display)
    yield display
    server.terminate()
    server.wait()


def test_a_window_takes_frames_and_closes(screen: str) -> None:
    assert screen.startswith(":")
    sink = WindowSink()
    try:
        sink.open()
    except RequestError:
        pytest.skip("this OpenCV was built without windows")
    for number in range(30):
        sink.write(number, PICTURE)
    sink.close()
    sink.close()


def test_without_a_screen_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(RequestError, match="cannot open a window"):
        WindowSink().open()
