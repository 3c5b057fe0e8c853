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
from shared.errors import RequestError

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


def test_a_call_goes_on_without_a_driver_that_fails(
    driver: type[Driver], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sinks = make_sink("none", [tmp_path / "a.npy"], "")
    sinks.open()
    for number in range(4):
        driver.opened[0].unplugged = number > 1
        sinks.write(number, PICTURE)
    sinks.close()
    assert not sinks.failed
    assert len(np.load(tmp_path / "a.npy")) == 4
    assert len(driver.opened[0].pictures) == 2
    assert [record.getMessage() for record in caplog.records] == [
        "The virtual camera /dev/video9 takes no more pictures (the device is gone); "
        "the call goes on without it."
    ]


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (
            "Virtual camera device /dev/video9 could not be opened: Device or resource busy",
            "is in use by another",
        ),
        ("virtual camera output could not be started: in use", "is in use by another"),
        ("could not be opened due to missing permissions. Did you add", "add yourself to the group video"),
        ("No v4l2 loopback device found at /dev/video[0-99]. Did you", "install its driver: v4l2loopback"),
        ("/dev/video9 is not a video output device.", "install its driver: v4l2loopback"),
    ],
)
def test_what_keeps_a_camera_from_opening_is_told_apart(
    driver: type[Driver], monkeypatch: pytest.MonkeyPatch, says: str, words: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError(says)

    monkeypatch.setattr(driver, "__init__", refuse)
    with pytest.raises(RequestError, match=words) as caught:
        VirtualCameraSink().open()
    assert "\n" not in str(caught.value)


def test_a_driver_of_other_sizes_shows_the_picture_in_the_middle(
    driver: type[Driver], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = Driver.__init__

    def only_wide(self: Driver, *, width: int, **rest: Any) -> None:
        if width != 640:
            raise RuntimeError("Unsupported size.")
        made(self, width=width, **rest)

    monkeypatch.setattr(driver, "__init__", only_wide)
    sink = VirtualCameraSink()
    sink.open()
    sink.write(0, np.full((256, 256, 3), 200, np.uint8))
    sink.close()
    (opened,) = driver.opened
    shown = opened.pictures[0].reshape(480, 640, 3)
    assert (shown[:, :80] == 0).all()
    assert (shown[:, 80:560] == 200).all()
    assert (shown[:, 560:] == 0).all()
    assert "shows 640x480" in caplog.text


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
