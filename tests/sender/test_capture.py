"""Files play at their own pace, cameras show the newest picture, and bad input is one sentence."""

from __future__ import annotations

import contextlib
import logging
import struct
import threading
import time
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from sender.camera import SAME_S, STALL_S, CameraPausedError, CameraSource, Rate, set_up
from sender.capture import FileSource, open_source
from sender.crop import Crop
from sender.demo import DemoSource
from shared.errors import KeycastError, RequestError
from shared.keypoints import Pictures


def write_clip(path: Path, times: list[int], size: tuple[int, int] = (64, 48), rate: int = 30) -> Path:
    """Write frames of grey 10, 20, 30, ... at `times`, in units of 1 / rate s."""
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "10", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for index, pts in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), 10 + 10 * index, np.uint8))
            frame.pts, frame.time_base = pts, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def grey(picture: Pictures | None) -> int | None:
    """Return which of the frames of `write_clip` this is."""
    return None if picture is None else round((float(picture.mean()) - 10) / 10)


def shown(source: FileSource, numbers: range) -> list[int | None]:
    return [grey(source.frame(n)) for n in numbers]


def test_frames_come_at_thirty_a_second(tmp_path: Path) -> None:
    source = FileSource(write_clip(tmp_path / "a.mp4", [0, 1, 2, 3, 4]))
    assert shown(source, range(7)) == [0, 1, 2, 3, 4, None, None]


def test_a_slow_file_repeats_and_a_fast_one_skips(tmp_path: Path) -> None:
    slow = FileSource(write_clip(tmp_path / "slow.mp4", [0, 1, 2], rate=10))
    assert shown(slow, range(10)) == [0, 0, 0, 1, 1, 1, 2, 2, 2, None]
    fast = FileSource(write_clip(tmp_path / "fast.mp4", list(range(8)), rate=60))
    assert shown(fast, range(5)) == [0, 2, 4, 6, None]


def test_uneven_times_are_kept(tmp_path: Path) -> None:
    source = FileSource(write_clip(tmp_path / "a.mp4", [0, 1, 5, 6]))
    assert shown(source, range(8)) == [0, 1, 1, 1, 1, 2, 3, None]


def test_the_first_frame_is_time_zero(tmp_path: Path) -> None:
    source = FileSource(write_clip(tmp_path / "a.mkv", [30, 31, 32]))
    assert shown(source, range(4)) == [0, 1, 2, None]


def test_numbers_may_jump_ahead_and_repeat(tmp_path: Path) -> None:
    source = FileSource(write_clip(tmp_path / "a.mp4", list(range(10))))
    assert [grey(source.frame(n)) for n in (0, 4, 4, 9, 20)] == [0, 4, 4, 9, None]


def test_a_loop_goes_on_in_time(tmp_path: Path) -> None:
    source = FileSource(write_clip(tmp_path / "a.mp4", [0, 1, 2]), loop=True)
    assert shown(source, range(8)) == [0, 1, 2, 0, 1, 2, 0, 1]
    assert grey(source.frame(32)) == 2


def test_only_shown_frames_are_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    converted: list[float] = []
    convert = FileSource._convert
    monkeypatch.setattr(
        FileSource,
        "_convert",
        lambda self, frame: converted.append(frame.seconds) or convert(self, frame),
    )
    source = FileSource(write_clip(tmp_path / "a.mp4", list(range(9))))
    for n in (0, 0, 4, 4, 8):
        source.frame(n)
    assert [round(t * 30) for t in converted] == [0, 4, 8]


def test_the_centre_square_or_the_crop_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    picture = np.zeros((64, 128, 3), np.uint8)
    picture[:, 32:96, 0] = 200
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv444p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode(None))
    middle, left = FileSource(path).frame(0), FileSource(path, Crop(0, 0, 32)).frame(0)
    assert middle is not None
    assert left is not None
    assert middle[:, 16:-16, 0].min() > 180
    assert left[:, :220].max() < 20


def test_rotation_is_honoured(tmp_path: Path) -> None:
    """A phone held upright stores its picture lying, with a matrix that turns it clockwise by 90 degrees."""
    path = tmp_path / "a.mp4"
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, :32] = 220
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode(None))
    data = bytearray(path.read_bytes())
    one, unit = 1 << 16, 1 << 30
    start = data.index(b"tkhd") + 44
    assert struct.unpack(">9i", data[start : start + 36]) == (one, 0, 0, 0, one, 0, 0, 0, unit)
    data[start : start + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 64 * one, 0, unit)
    path.write_bytes(data)
    turned = FileSource(path).frame(0)
    assert turned is not None
    assert turned[:100].min() > 190
    assert turned[-100:].max() < 40


def test_a_truncated_file_plays_what_is_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.mp4"
    noise = np.random.default_rng(0).integers(0, 255, (90, 64, 64, 3), np.uint8)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for picture in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with caplog.at_level(logging.WARNING):
        source = FileSource(path)
        count = next(n for n in range(200) if source.frame(n) is None)
    assert 20 < count < 70
    assert len(caplog.records) == 1
    assert "a.mp4" in caplog.text


def test_bad_files_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video\n" * 50)
    (tmp_path / "empty.mp4").touch()
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(1600))
    cut = write_clip(tmp_path / "cut.mp4", [0, 1, 2])
    cut.write_bytes(cut.read_bytes()[:300])
    for name, words in {
        "missing.mp4": "There is no .*missing.mp4; give cam0",
        "": "is a folder",
        "text.mp4": "not a readable video",
        "empty.mp4": "not a readable video",
        "sound.wav": "holds no video",
        "cut.mp4": "or is damaged",
    }.items():
        with pytest.raises(RequestError, match=words) as caught:
            open_source(str(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_a_crop_outside_of_the_video_is_refused_at_once(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", [0, 1])
    with pytest.raises(RequestError, match="64x48"):
        open_source(str(path), Crop(0, 0, 49))


def test_a_size_that_changes_midway_is_gone_along_with(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A crop that no longer fits holds, says so once, and goes on where the old size comes back."""
    large = tmp_path / "large.ts", [0, 1, 2]
    small = tmp_path / "small.ts", [3, 4, 5], (32, 48)
    again = tmp_path / "again.ts", [6, 7, 8]
    joined = tmp_path / "a.ts"
    joined.write_bytes(b"".join(write_clip(*clip).read_bytes() for clip in (large, small, again)))
    assert shown(FileSource(joined), range(10)) == [0, 1, 2] * 3 + [None]
    with caplog.at_level(logging.WARNING):
        assert shown(FileSource(joined, Crop(8, 0, 40)), range(10)) == [0, 1, 2, 2, 2, 2, 0, 1, 2, None]
    (record,) = (record for record in caplog.records if record.name == "keycast.camera")
    assert "is frozen" in record.getMessage()
    assert "which is 32x48" in record.getMessage()


def test_demo_and_files_are_told_apart(tmp_path: Path) -> None:
    demo = open_source("demo")
    assert isinstance(demo, DemoSource)
    assert demo.frame(299) is not None
    assert demo.frame(300) is None
    demo.close()
    assert isinstance(open_source(str(write_clip(tmp_path / "a.mp4", [0]))), FileSource)


@pytest.mark.parametrize("spec", ["cam99", "/dev/video99"])
def test_a_missing_camera_lists_the_choices(spec: str) -> None:
    with pytest.raises(
        RequestError, match=rf"no camera {spec}.* cam0, cam1, a device .*, a video file, or demo"
    ):
        open_source(spec)


class ScriptedCamera:
    """Gives the pictures that the test hands over, one at a time: there is no camera in a test machine."""

    STEP = 40

    def __init__(self) -> None:
        self.next = threading.Semaphore(0)
        self.taken = threading.Semaphore(0)
        self.level = 0
        self.released = False

    def read(self) -> tuple[bool, Any]:
        self.taken.release()
        if not self.next.acquire(timeout=0.01):
            return False, None
        self.level += self.STEP
        picture = np.zeros((48, 64, 3), np.uint8)
        picture[..., 0] = self.level  # blue comes first
        return True, picture

    def release(self) -> None:
        self.released = True


def test_a_camera_shows_the_newest_picture_until_it_stops() -> None:
    camera, clock = ScriptedCamera(), [0.0]
    source = CameraSource(camera, now=lambda: clock[0])
    camera.next.release()
    first = source.frame(0)
    assert first is not None
    assert first.shape == (256, 256, 3)
    assert tuple(first[0, 0]) == (0, 0, 40)
    assert source.frame(1) is first
    next_picture(source, camera)
    newest = next_picture(source, camera)
    assert newest[0, 0, 2] == 120
    clock[0] = 0.45
    assert source.frame(3) is newest
    clock[0] = 0.55
    with pytest.raises(CameraPausedError):
        source.frame(4)
    source.close()
    assert camera.released
    assert source.frame(5) is None


def test_a_camera_that_was_unplugged_is_opened_anew(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sender.camera.FIRST_RETRY_S", 0.01)
    first, second, clock = ScriptedCamera(), ScriptedCamera(), [0.0]
    found: list[ScriptedCamera | None] = [None, None, second]
    opened = threading.Event()

    def reopen() -> ScriptedCamera | None:
        assert first.released
        if len(found) == 1:
            opened.set()
        return found.pop(0)

    source = CameraSource(first, now=lambda: clock[0], reopen=reopen)
    first.next.release()
    assert source.frame(0) is not None
    clock[0] = STALL_S + 0.1
    assert opened.wait(60)
    with pytest.raises(CameraPausedError):
        source.frame(60)
    second.level = 100
    assert next_picture(source, second)[0, 0, 2] == 140
    source.close()
    assert second.released
    assert caplog.text.count("The camera has stopped delivering frames") == 1


def test_a_camera_that_never_comes_back_does_not_keep_a_call_from_ending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sender.camera.FIRST_RETRY_S", 0.01)
    camera, clock, asked = ScriptedCamera(), [0.0], threading.Event()
    source = CameraSource(camera, now=lambda: clock[0], reopen=asked.set)
    camera.next.release()
    assert source.frame(0) is not None
    clock[0] = STALL_S + 0.1
    assert asked.wait(60)
    source.close()
    assert not source._thread.is_alive()
    assert source.frame(1) is None


class StuckCamera(ScriptedCamera):
    """Hangs in reading once it has given its pictures, as drivers do whose device is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.hanging, self.over = threading.Event(), threading.Event()

    def read(self) -> tuple[bool, Any]:
        if self.level >= 40:
            self.hanging.set()
            self.over.wait()
        return super().read()


def test_a_camera_that_hangs_in_reading_is_left_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_RETRY_S", "_LEAVE_S"):
        monkeypatch.setattr(f"sender.camera.{name}", 0.01)
    first, second, clock = StuckCamera(), ScriptedCamera(), [0.0]
    source = CameraSource(first, now=lambda: clock[0], reopen=lambda: second)
    first.next.release()
    assert source.frame(0) is not None
    assert first.hanging.wait(60)
    clock[0] = STALL_S + 0.1
    second.level = 100
    assert next_picture(source, second)[0, 0, 2] == 140
    # Whoever hangs in a camera may not release it.
    assert not first.released
    first.over.set()
    source.close()
    assert second.released


def next_picture(source: CameraSource, camera: ScriptedCamera) -> Pictures:
    """Hand over the next picture of a camera, which may still be being opened, and wait until it is shown."""
    level = camera.level + ScriptedCamera.STEP
    camera.next.release()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(CameraPausedError):
            picture = source.frame(0)
            assert picture is not None
            if picture[0, 0, 2] == level:
                return picture
        time.sleep(0.005)
    pytest.fail("no picture came")


class SameCamera(ScriptedCamera):
    """Gives one picture for ever, as fast as it is asked."""

    def read(self) -> tuple[bool, Any]:
        self.taken.release()
        time.sleep(0.002)
        return True, np.full((48, 64, 3), self.level, np.uint8)

    def give_another(self) -> None:
        """Wait until a reading has begun and ended; for a second at most: the camera may have been left."""
        while self.taken.acquire(blocking=False):
            pass
        self.taken.acquire(timeout=0.5)
        self.taken.acquire(timeout=0.5)


@pytest.mark.slow
def test_a_picture_that_never_changes_is_a_camera_that_is_stuck_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sender.camera.FIRST_RETRY_S", 0.01)
    first, second, clock, opened = SameCamera(), SameCamera(), [0.0], []
    asked = threading.Event()

    def reopen() -> SameCamera:
        opened.append(clock[0])
        asked.set()
        return second

    source = CameraSource(first, now=lambda: clock[0], reopen=reopen)
    assert source.frame(0) is not None
    while not asked.is_set() and clock[0] < 2 * SAME_S:
        clock[0] += 0.02
        first.give_another()
    assert opened
    assert opened[0] > SAME_S
    # It is a still one, such as a picture shown by another program: that is shown.
    for _ in range(round(3 * SAME_S / 0.1)):
        clock[0] += 0.1
        second.give_another()
    assert len(opened) == 1
    source.close()


class Properties:
    """What a driver with formats of their own rates makes of what it is asked for."""

    def __init__(self, raw: float) -> None:
        self.raw, self.asked = raw, {}

    def set(self, key: int, value: float) -> bool:
        self.asked[key] = value
        return True

    def get(self, key: int) -> float:
        assert key == cv2.CAP_PROP_FPS
        return 30.0 if cv2.CAP_PROP_FOURCC in self.asked else self.raw


@pytest.mark.parametrize(("raw", "asks"), [(30.0, False), (0.0, False), (10.0, True), (24.0, True)])
def test_compressed_pictures_are_asked_for_where_raw_ones_are_slow(raw: float, asks: bool) -> None:
    driver = Properties(raw)
    set_up(driver)
    assert driver.asked[cv2.CAP_PROP_FRAME_WIDTH] == 640
    assert driver.asked.get(cv2.CAP_PROP_FOURCC) == (cv2.VideoWriter.fourcc(*"MJPG") if asks else None)


def test_larger_squares_are_cut_out_of_larger_pictures() -> None:
    driver = Properties(30.0)
    set_up(driver, 512)
    asked = (driver.asked[cv2.CAP_PROP_FRAME_WIDTH], driver.asked[cv2.CAP_PROP_FRAME_HEIGHT])
    assert asked == (1280, 720)
    camera = ScriptedCamera()
    source = CameraSource(camera, side=384)
    try:
        camera.next.release()
        picture = source.frame(0)
    finally:
        source.close()
    assert picture is not None
    assert picture.shape == (384, 384, 3)


def test_the_pace_is_what_really_comes() -> None:
    rate = Rate()
    assert rate.at(0.0) is None
    for number in range(100):
        rate.came(number / 15)
    assert rate.at(99 / 15) == pytest.approx(15, abs=0.1)
    assert rate.at(99 / 15 + 5) is None


def test_a_slow_camera_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    camera, clock = ScriptedCamera(), [0.0]
    source = CameraSource(camera, now=lambda: clock[0])
    for number in range(1, 70):
        clock[0] = number / 10
        camera.level %= 200
        camera.next.release()
        while source._since < clock[0]:
            time.sleep(0.001)
    deadline = time.monotonic() + 60
    while not caplog.records and time.monotonic() < deadline:
        time.sleep(0.01)
    assert source.pace == pytest.approx(10, abs=0.5)
    source.close()
    assert [record.getMessage() for record in caplog.records] == [
        "The camera delivers only 10 frames per second, which looks jerky; most cameras are faster in more "
        "light."
    ]


def test_a_camera_that_sends_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sender.camera.FIRST_FRAME_S", 0.05)
    source = CameraSource(ScriptedCamera())
    with pytest.raises(KeycastError, match="sends no pictures"):
        source.frame(0)
    source.close()
