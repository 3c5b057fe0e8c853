"""The virtual camera through pyvirtualcam itself, in front of a driver of our own: none is installed here."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from receiver.__main__ import main
from receiver.sinks import make_sink
from receiver.sinks.virtual_camera import VirtualCameraSink
from shared.errors import KeycastError, RequestError

pyvirtualcam = pytest.importorskip("pyvirtualcam")
PICTURE = np.arange(256 * 256 * 3, dtype=np.uint32).reshape(256, 256, 3).astype(np.uint8)


class Driver:
    """What pyvirtualcam asks of a backend."""

    opened: list["Driver"]

    def __init__(self, *, width: int, height: int, fps: float, fourcc: int, device: str | None) -> None:
        if device not in (None, "/dev/video9"):
            raise RuntimeError(f"{device} is no loopback device")
        self.asked = (width, height, fps, fourcc)
        self.pictures: list[Any] = []
        self.closed = self.unplugged = False
        Driver.opened.append(self)

    def send(self, frame: Any) -> None:
        if self.unplugged:
            raise RuntimeError("the device is gone")
        self.pictures.append(frame.copy())

    def device(self) -> str:
        return "/dev/video9"

    def native_fourcc(self) -> int | None:
        return None

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Driver]]:
    Driver.opened = []
    monkeypatch.setattr(pyvirtualcam.camera, "BACKENDS", {})
    pyvirtualcam.register_backend("test", Driver)
    yield Driver
    assert all(one.closed for one in Driver.opened)


@pytest.mark.parametrize("device", [None, "/dev/video9"])
def test_frames_go_through_as_they_are(driver: type[Driver], device: str | None) -> None:
    sink = VirtualCameraSink(device)
    assert sink.device == ""
    sink.open()
    assert sink.device == "/dev/video9"
    sink.write(0, PICTURE)
    sink.write(5, PICTURE[:, ::-1])
    sink.close()
    sink.close()
    sink.write(6, PICTURE)
    (opened,) = driver.opened
    assert opened.asked[:3] == (256, 256, 30)
    shown = [frame.reshape(256, 256, 3) for frame in opened.pictures]
    np.testing.assert_array_equal(shown, [PICTURE, PICTURE[:, ::-1]])


def test_a_driver_that_fails_is_told(driver: type[Driver]) -> None:
    sink = VirtualCameraSink()
    sink.open()
    driver.opened[0].unplugged = True
    with pytest.raises(
        KeycastError, match=r"^The virtual camera /dev/video9 takes no more pictures: the device is gone\.$"
    ):
        sink.write(0, PICTURE)
    sink.close()


def test_a_device_that_is_none_is_refused(driver: type[Driver]) -> None:  # noqa: ARG001
    with pytest.raises(RequestError, match=r"^There is no virtual camera /dev/video3 here .*v4l2loopback"):
        VirtualCameraSink("/dev/video3").open()


@pytest.mark.skipif(bool(list(Path("/dev").glob("video*"))), reason="there may be a loopback device here")
@pytest.mark.skipif(sys.platform != "linux", reason="drivers are found in other ways")
def test_without_a_driver_the_command_says_so_and_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    """With pyvirtualcam's own driver for Linux, which finds no device."""
    assert main(["--view", "none", "--listen", "127.0.0.1:0", "--virtual-camera"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: There is no virtual camera here that can be used; install its driver:")
    assert said.count("\n") == 1


def test_without_the_package_the_sentence_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(RequestError, match=r"pip install 'keycast\[virtual-camera\]'\.$"):
        VirtualCameraSink().open()


def test_it_is_one_of_several(driver: type[Driver], tmp_path: Path) -> None:
    sinks = make_sink("none", [tmp_path / "a.mp4", tmp_path / "a.npy"], "")
    sinks.open()
    for number in range(3):
        sinks.write(number, PICTURE)
    sinks.close()
    assert len(driver.opened[0].pictures) == len(np.load(tmp_path / "a.npy")) == 3
    assert (tmp_path / "a.mp4").stat().st_size > 0
