"""The window, on a virtual screen where one can be had."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image, ImageGrab

from receiver.live import Snapshot, listening
from receiver.screen import FIGURES, PICTURE, SELF_SIDE, SIDE, TITLE, Visibility, _Newest, message, save
from receiver.sinks.self_view import SelfView
from receiver.sinks.window import WindowClosed, WindowSink
from shared.errors import RequestError
from shared.keypoints import Pictures
from shared.runtime.controls import Choices, Controls

pytestmark = pytest.mark.slow

LIVE: Snapshot = {**listening(), "state": "live", "fps_shown": 30.0, "strip": "oooooofffffi" * 10}
WAIT_SECONDS = 30.0
OPEN_SECONDS, OPENINGS = 3.0, 5


def blue(level: int = 200) -> Pictures:
    return np.stack([np.full((256, 256), part, np.uint8) for part in (20, 60, level)], axis=2)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A virtual screen of its own."""
    for tool in ("Xvfb", "xdotool"):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool}")
    reader, writer = os.pipe()
    command = ["Xvfb", "-displayfd", str(writer), "-screen", "0", f"{SIDE + 40}x{SIDE + 40}x24"]
    server = subprocess.Popen(command, pass_fds=[writer], stderr=subprocess.DEVNULL)
    os.close(writer)
    with os.fdopen(reader) as numbers:
        display = f":{numbers.readline().strip()}"
    monkeypatch.setenv("DISPLAY", display)
    yield display
    server.terminate()
    server.wait()


class Desk:
    """A window that stands on the virtual screen, a hand on the keyboard, and an eye on the picture."""

    def __init__(self, display: str) -> None:
        self.display = display
        self.said: list[str] = []
        self.sink = WindowSink(self.said.append)

    def __enter__(self) -> Desk:
        for _ in range(OPENINGS):
            try:
                self.sink.open()
            except RequestError:
                pytest.skip("this OpenCV was built without windows")
            self.sink.write(0, np.full((256, 256, 3), 255, np.uint8))
            if self.looks(lambda seen: bool(seen[5:-50, 5:-50].min() > 250), OPEN_SECONDS):
                return self
            # With no window manager about, GTK now and then draws nothing at all.
            self.sink.close()
        pytest.skip("the toolkit draws nothing on this screen")

    def __exit__(self, *_: object) -> None:
        self.sink.close()

    @property
    def window(self) -> str:
        search = ["xdotool", "search", "--name", TITLE]
        return subprocess.run(search, capture_output=True, text=True, check=True).stdout.split()[0]

    def press(self, key: str) -> None:
        # Straight to the window: without a window manager, the focus comes and goes.
        subprocess.run(["xdotool", "windowfocus", self.window], check=True)
        subprocess.run(["xdotool", "key", "--window", self.window, key], check=True)

    def looks(self, so: Callable[[Pictures], bool], seconds: float) -> bool:
        """Say whether the screen (H, W, 3) looks so within `seconds`."""
        deadline = time.monotonic() + seconds
        while not so(self.picture):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def sees(self, what: Callable[[Pictures], bool]) -> Pictures:
        """Wait until the screen looks so, and return it."""
        assert self.looks(what, WAIT_SECONDS), "the screen never looked so"
        return self.picture

    @property
    def picture(self) -> Pictures:
        return np.asarray(ImageGrab.grab(xdisplay=self.display).convert("RGB"))

    def wait(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.05)


def middle_is(picture: Pictures) -> Callable[[Pictures], bool]:
    return lambda seen: bool(np.abs(seen[SIDE // 2, SIDE // 2].astype(int) - picture[0, 0]).max() < 3)


def has_panel(seen: Pictures) -> bool:
    return bool(seen[5, 5, 2] < 0.6 * seen[SIDE // 2, 5, 2])


def has_none(seen: Pictures) -> bool:
    return bool(seen[5, 5, 2] == seen[SIDE // 2, 5, 2] > 100)


def test_a_window_shows_frames_in_their_colours_and_closes(screen: str) -> None:
    with Desk(screen) as desk:
        for level in (120, 250):
            desk.sink.write(0, blue(level))
            desk.sees(middle_is(blue(level)))
        desk.sink.close()
        desk.sink.close()
        desk.sink.write(1, blue())


def test_figures_are_shown_and_o_hides_them(screen: str) -> None:
    with Desk(screen) as desk:
        desk.sink.write(0, blue())
        desk.sink.tell(LIVE)
        seen = desk.sees(has_panel)
        # The strip has green, yellow and blue bars.
        bars = seen[30:41, 10:490].reshape(-1, 3).astype(int)
        for colour in ((110, 215, 120), (245, 200, 70), (110, 190, 245)):
            assert (np.abs(bars - colour).max(axis=1) < 12).sum() > 20
        desk.press("o")
        desk.sees(has_none)
        desk.press("o")
        desk.sees(has_panel)


def test_s_saves_the_picture_as_it_came(screen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The window's process looks for its module in the folder that it starts in, too.
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    monkeypatch.chdir(tmp_path)
    with Desk(screen) as desk:
        desk.sink.write(0, blue(77))
        desk.sink.tell(LIVE)
        desk.sees(middle_is(blue(77)))
        desk.press("s")
        desk.wait(lambda: bool(desk.said))
    (path,) = tmp_path.glob("keycast-*.png")
    assert desk.said == [f"saved {path}"]
    np.testing.assert_array_equal(np.asarray(Image.open(path)), blue(77))


@pytest.mark.parametrize("key", ["q", "Escape"])
def test_a_key_ends_the_window_even_when_no_frame_comes(screen: str, key: str) -> None:
    with Desk(screen) as desk:
        desk.sink.tell(listening())
        desk.sees(has_panel)
        desk.press(key)

        def closed() -> bool:
            try:
                desk.sink.tell(listening())
            except WindowClosed:
                return True
            return False

        desk.wait(closed)
        with pytest.raises(WindowClosed):
            desk.sink.write(0, blue())


def test_a_saved_picture_never_takes_the_place_of_another(tmp_path: Path) -> None:
    moment = datetime(2026, 11, 25, 1, 2, 3, tzinfo=UTC)
    lines = [save(blue(level), tmp_path, moment) for level in (1, 2, 3)]
    names = ["keycast-20261125-010203.png", "keycast-20261125-010203-2.png", "keycast-20261125-010203-3.png"]
    assert lines == [f"saved {tmp_path / name}" for name in names]
    assert [np.asarray(Image.open(tmp_path / name))[0, 0, 2] for name in names] == [1, 2, 3]
    assert save(blue(), tmp_path / "missing", moment).endswith(": No such file or directory.")


def test_what_is_written_says_its_kind_and_length() -> None:
    stream = io.BytesIO(message(PICTURE, b"abc") + message(FIGURES, b"{}"))
    assert stream.read() == b"P\0\0\0\3abcF\0\0\0\2{}"


def test_without_a_screen_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(RequestError, match="cannot open a window"):
        WindowSink().open()


@pytest.mark.parametrize(("said", "closed"), [
    ([-1.0] * 5, [False] * 5),
    ([0.0, 0.0, 1.0, 1.0, 0.0], [False] * 4 + [True]),
    ([1.0, -1.0], [False, True]),
])  # fmt: skip
def test_a_window_that_nobody_knows_of_stays(said: list[float], closed: list[bool]) -> None:
    visibility = Visibility()
    assert [visibility.is_closed(value) for value in said] == closed


@pytest.fixture
def call(screen: str) -> Iterator[tuple[Desk, Controls, SelfView]]:
    """A window of an end that sends as well."""
    controls = Controls()
    view = SelfView(controls)
    desk = Desk(screen)
    desk.sink = WindowSink(desk.said.append, controls, view)
    with desk:
        yield desk, controls, view


def oneself() -> Pictures:
    """Red on its left, green on its right, as it is sent."""
    picture = np.zeros((256, 256, 3), np.uint8)
    picture[:, :128, 0] = picture[:, 128:, 1] = 220
    return picture


def test_keys_of_a_call_go_to_the_controls(call: tuple[Desk, Controls, SelfView]) -> None:
    desk, controls, _ = call
    hung_up: list[bool] = []
    controls.on_hang_up(lambda: hung_up.append(True))
    for key, choices in [
        ("m", Choices(muted=True)),
        ("v", Choices(muted=True, held=True)),
        ("p", Choices(muted=True, held=True, shows_self=False)),
        ("m", Choices(held=True, shows_self=False)),
    ]:
        desk.press(key)
        desk.wait(lambda choices=choices: controls.choices == choices)
    assert not hung_up
    desk.press("q")
    desk.wait(lambda: bool(hung_up))
    assert desk.said == []


def test_oneself_stands_in_the_corner_as_in_a_mirror_until_hidden(
    call: tuple[Desk, Controls, SelfView],
) -> None:
    desk, controls, view = call
    view.update(oneself())
    desk.sink.write(0, blue())

    def mirrored(seen: Pictures) -> bool:
        left, right = seen[120, SIDE - 12 - 110], seen[120, SIDE - 12 - 20]
        return bool(left[1] > 180 and left[0] < 60 and right[0] > 180 and right[1] < 60)

    desk.sees(mirrored)
    # With figures it is below them.
    desk.sink.tell(LIVE)
    assert mirrored(desk.sees(has_panel))
    controls.toggle_self_view()
    desk.sink.tell(LIVE)
    desk.sees(lambda seen: bool(seen[120, SIDE - 30, 2] > 150))


def test_oneself_fills_the_window_until_the_other_side_is_seen() -> None:
    controls = Controls()
    view = SelfView(controls)
    sink, written = WindowSink(controls=controls, self_view=view), io.BytesIO()
    sink._process = Mock(stdin=written)

    def read() -> _Newest:
        newest = _Newest(io.BytesIO(written.getvalue()))
        deadline = time.monotonic() + WAIT_SECONDS
        while not newest.ended:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return newest

    sink.tell(LIVE)
    assert read().whole.max() == 0
    view.update(oneself())
    sink.tell(LIVE)
    np.testing.assert_array_equal(read().whole, oneself()[:, ::-1])
    sink.write(0, blue())
    beside = read()
    np.testing.assert_array_equal(beside.whole, blue())
    assert beside.oneself is not None
    assert beside.oneself.shape == (SELF_SIDE, SELF_SIDE, 3)


def test_what_either_side_has_chosen_is_shown(call: tuple[Desk, Controls, SelfView]) -> None:
    desk, controls, _ = call

    def badge(left: bool) -> Callable[[Pictures], bool]:
        columns = slice(20, 90) if left else slice(SIDE - 100, SIDE - 30)
        return lambda seen: bool((seen[58:82, columns].min(axis=2) > 150).sum() > 20)

    desk.sink.write(0, blue())
    desk.sees(middle_is(blue()))
    assert not badge(left=True)(desk.picture)
    controls.peer_says(muted=True, held=False)
    desk.sink.write(1, blue())
    desk.sees(badge(left=True))
    assert not badge(left=False)(desk.picture)
    controls.toggle_hold()
    desk.sink.tell(LIVE)
    desk.sees(badge(left=False))


def test_without_controls_the_keys_of_a_call_do_nothing(screen: str) -> None:
    with Desk(screen) as desk:
        desk.sink.write(0, blue())
        for key in "mvp":
            desk.press(key)
        desk.press("s")
        desk.wait(lambda: bool(desk.said))
        assert desk.said[0].startswith("saved")
        Path(desk.said[0].removeprefix("saved ")).unlink()
        assert desk.picture[58:82, 20:90].min(axis=2).max() < 60
