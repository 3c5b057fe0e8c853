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
        "The virtual camera /dev/video9 stopped accepting frames (the device is gone); "
        "the call continues without it."
    ]


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (
            "Virtual camera device /dev/video9 could not be opened: Device or resource busy",
            "is in use by another",
        ),
        ("virtual camera output could not be started: in use", "is in use by another"),
        ("could not be opened due to missing permissions. Did you add", "add yourself to the video group"),
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
    assert (shown[:, :80] == 120).all()
    assert (shown[:, 80:560] == 200).all()
    assert (shown[:, 560:] == 120).all()
    assert "shows 640x480" in caplog.text


def test_it_is_as_large_as_the_calls_pictures(driver: type[Driver]) -> None:
    sink = VirtualCameraSink()
    sink.open()
    for number, side in enumerate((256, 512, 512, 256)):
        sink.write(number, np.full((side, side, 3), side // 4, np.uint8))
    sink.close()
    assert [one.asked[:2] for one in driver.opened] == [(256, 256), (512, 512), (256, 256)]
    assert [len(one.pictures) for one in driver.opened] == [1, 2, 1]


def test_a_driver_that_does_not_let_it_grow_shows_larger_pictures_smaller(
    driver: type[Driver], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = Driver.__init__

    def only_small(self: Driver, *, width: int, **rest: Any) -> None:
        if width != 256:
            raise RuntimeError("Unsupported size.")
        made(self, width=width, **rest)

    monkeypatch.setattr(driver, "__init__", only_small)
    sink = VirtualCameraSink()
    sink.open()
    for number in range(2):
        sink.write(number, np.full((512, 512, 3), 90, np.uint8))
    sink.close()
    assert [len(one.pictures) for one in driver.opened] == [0, 2]
    assert (driver.opened[1].pictures[0] == 90).all()
    assert caplog.text.count("cannot be opened at 512x512") == 1


def test_meeting_programs_get_a_wide_picture_between_soft_borders(driver: type[Driver]) -> None:
    sink = VirtualCameraSink(size=(1280, 720))
    sink.open()
    picture = np.zeros((512, 512, 3), np.uint8)
    picture[:, 256:] = (200, 100, 50)
    picture[::2] //= 2  # detail, which the border has none of
    sink.write(0, picture)
    sink.close()
    (opened,) = driver.opened
    assert opened.asked[:2] == (1280, 720)
    shown = opened.pictures[0].reshape(720, 1280, 3).astype(int)
    left, middle, right = shown[:, :280], shown[:, 280:1000], shown[:, 1000:]
    assert left[:, :200].max() < 20
    assert right[:, -200:].mean((0, 1)) == pytest.approx((90, 45, 22), abs=8)
    assert abs(np.diff(right, axis=0)).max() < 4 < abs(np.diff(middle, axis=0)).max()
    assert middle[:, -300:].mean((0, 1)) == pytest.approx((150, 75, 37), abs=4)


@pytest.mark.parametrize("size", ["1280", "1280x", "x720", "1280x721", "0x0", "12800x720", "axb", "1x2x3"])
def test_no_other_size_of_a_camera_is_taken(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--view", "none", "--virtual-camera", "--virtual-camera-size", size]) == 2
    assert "1280x720" in capsys.readouterr().err
    assert main(["--view", "none", "--virtual-camera-size", "1280x720"]) == 2
    assert "add --virtual-camera" in capsys.readouterr().err


@pytest.mark.skipif(bool(list(Path("/dev").glob("video*"))), reason="there may be a loopback device here")
@pytest.mark.skipif(sys.platform != "linux", reason="drivers are found in other ways")
def test_without_a_driver_the_command_says_so_and_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    """With pyvirtualcam's own driver for Linux, which finds no device."""
    assert main(["--view", "none", "--listen", "127.0.0.1:0", "--virtual-camera"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: No usable virtual camera was found; install its driver:")
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
