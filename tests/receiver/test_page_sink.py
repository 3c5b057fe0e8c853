"""The viewer page's part of the receiver: its files, its pictures, its address."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from receiver.announcement import watching
from receiver.sinks import Sinks
from receiver.sinks.page import PageSink
from receiver.web import page_files
from shared.keypoints import Pictures

ROOT = Path(__file__).parents[2]


class Crowd:
    """Somebody who watches, or not."""

    def __init__(self, wanted: bool = True) -> None:
        self.wanted = wanted
        self.seen: list[bytes] = []

    def publish(self, picture: bytes) -> None:
        self.seen.append(picture)


def picture() -> Pictures:
    ramp = np.linspace(0, 255, 256, dtype=np.uint8)
    return np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], np.uint8(90)), axis=-1)


def test_a_frame_is_given_as_a_jpeg_that_looks_like_it() -> None:
    crowd = Crowd()
    PageSink(crowd).write(7, picture())
    with Image.open(io.BytesIO(crowd.seen[0])) as image:
        assert image.format == "JPEG"
        error = np.abs(np.asarray(image, np.float32) - picture()).mean()
    assert error < 3
    assert len(crowd.seen[0]) < 16_000


def test_nothing_is_made_where_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = Crowd(wanted=False)
    monkeypatch.setattr(Image, "fromarray", lambda _: pytest.fail("encoded for nobody"))
    PageSink(crowd).write(0, picture())
    assert crowd.seen == []


def test_the_page_gets_the_picture_without_the_note_that_others_get() -> None:
    with_note, without = Crowd(), Crowd()
    sinks = Sinks([])
    sinks.add(PageSink(with_note))
    sinks.open()
    sinks.write(0, picture(), "no video, holding")
    PageSink(without).write(0, picture())
    assert with_note.seen == without.seen
    sinks.close()


def test_an_installation_holds_every_file_of_the_page(tmp_path: Path) -> None:
    words = ["-c", "import setuptools; setuptools.setup()", "-q", "egg_info", "--egg-base", tmp_path]
    words += ["build_py", "--build-lib", tmp_path / "lib"]
    done = subprocess.run([sys.executable, *map(str, words)], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    installed = tmp_path / "lib" / "receiver" / "web"
    assert {
        file.name: file.read_bytes() for file in installed.iterdir() if file.suffix != ".py"
    } == page_files()
    assert "page.html" in page_files()


def test_the_page_asks_nobody_else_and_has_nothing_inline() -> None:
    for content in page_files().values():
        text = content.decode().replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text
        assert "https:" not in text
        assert "style=" not in text
        assert "onclick=" not in text


def test_the_address_carries_the_token_where_it_is_sent_to_nobody() -> None:
    said = watching("127.0.0.1", 8470, "a/b#c", None)
    assert said == "to watch in a browser: http://127.0.0.1:8470/#a%2Fb%23c"
    assert "http://[::1]:1/#T" in watching("::1", 1, "T", None)
