"""The viewer page's part of the receiver: its files, its pictures, its address."""

import io
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from receiver.announcement import watching
from receiver.sinks import Sinks
from receiver.sinks import page as page_sink
from receiver.sinks.audio_sink import AudioSink
from receiver.sinks.page import PageSink, PageSound
from receiver.web import page_files
from shared.clock import monotonic
from shared.keypoints import Pictures
from shared.media.opus import RATE, Sound

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
    kind, at, sent = struct.unpack(">cdd", crowd.seen[0][:17])
    assert kind == b"P"
    assert at <= sent <= 1000 * monotonic()
    with Image.open(io.BytesIO(crowd.seen[0][17:])) as image:
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
    assert with_note.seen[0][17:] == without.seen[0][17:]
    sinks.close()


def hum(first: int, count: int = 960) -> Sound:
    return np.asarray(6000 * np.sin(2 * np.pi * 150 * np.arange(first, first + count) / RATE), np.int16)


def test_sound_goes_out_in_even_packets_each_with_its_moment() -> None:
    crowd = Crowd()
    sound = PageSound(crowd)
    assert isinstance(sound, AudioSink)
    start = monotonic() + 0.1
    try:
        for n in range(0, RATE // 2, 960):
            sound.hear(n, hum(n), start + n / RATE)
            time.sleep(0.01)
        assert sound.lead > 0
        deadline = monotonic() + 20
        while len(crowd.seen) < 15 and monotonic() < deadline:
            time.sleep(0.01)
    finally:
        sound.close()
    assert all(one[:1] == b"A" for one in crowd.seen)
    at = np.array([struct.unpack(">d", one[1:9])[0] for one in crowd.seen])
    # What a busy machine has missed is left out; else each follows the one before.
    assert np.median(np.diff(at)) == pytest.approx(20, abs=0.1)
    assert 1000 * start - 150 < at[0]
    sizes = [len(one) - 17 for one in crowd.seen[3:10]]
    assert max(sizes) < 250
    # Silence, which stands in for what a busy machine has missed, takes a few bytes.
    assert np.median(sizes) > 10
    assert sound.lead == 0


def test_sound_that_nobody_listens_to_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = Crowd(wanted=False)
    sound = PageSound(crowd)
    monkeypatch.setattr(page_sink, "OpusEncoder", lambda *_: pytest.fail("coded for nobody"))
    sound.hear(0, hum(0), monotonic())
    assert (sound.lead, crowd.seen) == (0, [])
    monkeypatch.undo()
    crowd.wanted = True
    sound.hear(960, hum(960), monotonic())
    assert sound.lead > 0
    crowd.wanted = False
    sound.hear(1920, hum(1920), monotonic())
    assert sound.lead == 0


@pytest.mark.slow
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
