"""Sources opened for a call: off the event loop, and closed whatever happens."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sender import outgoing
from sender.crop import CentreSquare
from sender.options import SenderOptions
from sender.presets import Sending
from shared.keypoints import Pictures
from shared.media.picture import decode
from tests.tinted import Tinted

OPTIONS = SenderOptions("cam0", crop=CentreSquare(), audio="auto")


class Device:
    """A camera and microphone that take until `ready` to open; `threads` are those that did anything."""

    live, scene, lag = True, 0, 0.0

    def __init__(self) -> None:
        self.ready = threading.Event()
        self.threads: set[threading.Thread] = set()
        self.opened = self.closed = 0

    def open(self, *_: Any, **__: Any) -> "Device":
        self.threads.add(threading.current_thread())
        assert self.ready.wait(20)
        self.opened += 1
        return self

    def frame(self, _: int) -> Pictures:
        self.threads.add(threading.current_thread())
        return np.full((256, 256, 3), 77, np.uint8)

    def close(self) -> None:
        self.threads.add(threading.current_thread())
        self.closed += 1


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    made = Device()
    monkeypatch.setattr(outgoing, "open_source", made.open)
    monkeypatch.setattr(outgoing, "open_sound", made.open)
    return made


async def test_no_device_holds_the_event_loop_up(device: Device) -> None:
    with ThreadPoolExecutor(1) as executor:

        async def use() -> None:
            async with outgoing.opened(OPTIONS, executor, lambda _: None) as media:
                assert media.first is not None
                assert media.voice is not None

        using = asyncio.create_task(use())
        await asyncio.sleep(0.05)
        device.ready.set()
        await using
    assert threading.current_thread() not in device.threads
    assert device.opened == device.closed == 2


async def test_a_camera_that_opens_when_nobody_wants_it_any_more_is_closed(device: Device) -> None:
    with ThreadPoolExecutor(1) as executor:

        async def use() -> None:
            async with outgoing.opened(OPTIONS, executor, lambda _: None):
                pytest.fail("nobody wants it")

        using = asyncio.create_task(use())
        while not device.threads:
            await asyncio.sleep(0.01)
        using.cancel()
        await asyncio.sleep(0.05)
        device.ready.set()
        with pytest.raises(asyncio.CancelledError):
            await using
    assert device.opened == device.closed == 1


@pytest.mark.parametrize(("asked", "first", "larger"), [(None, 128, None), (256, 128, 256), (128, 128, None)])
async def test_only_a_size_that_was_asked_for_is_offered(
    asked: int | None, first: int, larger: int | None, device: Device
) -> None:
    """A network of another size than cameras' takes part by default, at its own."""
    network = Tinted(128)
    network.sizes = (128, 256)
    options = replace(OPTIONS, audio=None, size=asked, sending=Sending("paper"))
    device.ready.set()
    with ThreadPoolExecutor(1) as executor:
        made = outgoing.Outgoing(options, network, None, inference=executor, encoding=executor)
        picture = np.full((asked or 256, asked or 256, 3), 77, np.uint8)
        found = await made.encoded(outgoing.Media(device, picture, None))  # type: ignore[arg-type]
    assert found.picture is not None
    assert len(decode(found.picture, first)) == first
    assert (found.larger and found.larger.size) == larger
