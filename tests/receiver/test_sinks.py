import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest

from receiver.sinks import Sinks, has_screen, make_sink
from receiver.sinks.mp4 import Mp4Sink
from receiver.sinks.raw import RawSink
from shared.errors import KeycastError, RequestError
from shared.keypoints import Pictures
from shared.runtime.sampler import Figures

FileSink = Mp4Sink | RawSink
Maker = Callable[[Path], FileSink]
BOTH = pytest.mark.parametrize(("make", "name"), [(Mp4Sink, "call.mp4"), (RawSink, "call.npy")])


def picture(number: int) -> Pictures:
    """A grey that says its number: mp4 keeps it within a few levels."""
    return np.full((256, 256, 3), 10 + 3 * (number % 80), np.uint8)


def shown(path: Path) -> tuple[list[int | None], list[int]]:
    """Return the times, in frames, and the numbers of the pictures in an mp4."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        times = [None if f.time is None else round(f.time * 30) for f in frames]
    return times, [round((float(f.to_ndarray(format="rgb24").mean()) - 10) / 3) for f in frames]


@contextmanager
def small_disk(limit: int) -> Iterator[None]:
    """No file may grow past `limit` bytes, as on a disk that fills up."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def killed_while_writing(path: Path, frames: int) -> None:
    code = (
        "import os, signal, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from receiver.sinks import make_sink\n"
        f"sink = make_sink('none', [Path({str(path)!r})])\n"
        "sink.open()\n"
        f"for n in range({frames}):\n"
        "    sink.write(n, np.full((256, 256, 3), 10 + 3 * (n % 80), np.uint8))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=60, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_an_mp4_has_every_frame_at_its_time(tmp_path: Path) -> None:
    sink = Mp4Sink(tmp_path / "call.mp4")
    sink.open()
    numbers = [7, 8, 9, 12, 13, 50]
    for number in numbers:
        sink.write(number, picture(number))
    sink.close()
    sink.close()
    assert shown(tmp_path / "call.mp4") == ([n - 7 for n in numbers], numbers)


def test_an_array_file_has_every_picture_and_reads_at_any_time(tmp_path: Path) -> None:
    path = tmp_path / "call.npy"
    sink = RawSink(path)
    sink.open()
    for count in range(1, 4):
        sink.write(10 * count, picture(count))
        np.testing.assert_array_equal(np.load(path), [picture(n) for n in range(1, count + 1)])
    sink.close()
    sink.close()
    assert np.load(path, mmap_mode="r").shape == (3, 256, 256, 3)


@pytest.mark.slow
def test_an_mp4_whose_writer_was_killed_plays_all_but_the_last_second(tmp_path: Path) -> None:
    killed_while_writing(tmp_path / "call.mp4", 75)
    assert shown(tmp_path / "call.mp4")[1] == list(range(60))


def test_an_array_file_whose_writer_was_killed_has_all_pictures(tmp_path: Path) -> None:
    killed_while_writing(tmp_path / "call.npy", 5)
    np.testing.assert_array_equal(np.load(tmp_path / "call.npy"), [picture(n) for n in range(5)])


@BOTH
def test_without_a_frame_there_is_no_file(make: Maker, name: str, tmp_path: Path) -> None:
    sink = make(tmp_path / name)
    sink.open()
    sink.close()
    assert list(tmp_path.iterdir()) == []


@BOTH
def test_an_older_file_stays_until_the_first_frame(make: Maker, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"an older call")
    sink = make(path)
    sink.open()
    assert path.read_bytes() == b"an older call"
    sink.write(0, picture(0))
    sink.close()
    assert b"an older call" not in path.read_bytes()


@BOTH
def test_a_path_that_cannot_be_written_is_told_before_the_call(
    make: Maker, name: str, tmp_path: Path
) -> None:
    with pytest.raises(
        RequestError, match=r"^Cannot write .*: No such file or directory; choose another place\.$"
    ):
        make(tmp_path / "missing" / name).open()
    (tmp_path / name).mkdir()
    with pytest.raises(RequestError, match="Is a directory"):
        make(tmp_path / name).open()


@pytest.mark.parametrize("make", [Mp4Sink, RawSink])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_at_the_first_frame(make: Maker) -> None:
    sink = make(Path("/dev/full"))
    sink.open()
    with pytest.raises(KeycastError, match=r"^Writing /dev/full failed: No space left on device[^.]*\.$"):
        sink.write(0, picture(0))
    close_quietly(sink)


def write_all(sink: FileSink, pictures: Pictures) -> None:
    for number, frame in enumerate(pictures):
        sink.write(number, frame)


def close_quietly(sink: FileSink) -> None:
    """Closing after a failure may say once more that the disk is full, and nothing else."""
    try:
        sink.close()
    except KeycastError:
        sink.close()


def test_a_disk_that_fills_up_leaves_an_mp4_that_plays(tmp_path: Path) -> None:
    path, random = tmp_path / "call.mp4", np.random.default_rng(0)
    noise = random.integers(0, 256, (100, 256, 256, 3), dtype=np.uint8)
    sink = Mp4Sink(path)
    sink.open()
    with small_disk(1_500_000):
        with pytest.raises(KeycastError, match=r"^Writing .*; what was written before it plays\.$"):
            write_all(sink, noise)
        close_quietly(sink)
    # The fragment during which the disk filled up is gone; all before it plays to the end.
    with av.open(str(path)) as container:
        decoded = sum(1 for _ in container.decode(video=0))
    assert decoded >= 30


def test_a_disk_that_fills_up_leaves_an_array_file_that_reads(tmp_path: Path) -> None:
    path = tmp_path / "call.npy"
    sink = RawSink(path)
    sink.open()
    with small_disk(500_000):
        sink.write(0, picture(0))
        sink.write(1, picture(1))
        with pytest.raises(KeycastError, match=r"^Writing .* failed: File too large\.$"):
            sink.write(2, picture(2))
        close_quietly(sink)
    np.testing.assert_array_equal(np.load(path), [picture(0), picture(1)])


class Noted:
    """A sink that notes what is done with it, and may fail."""

    def __init__(self, fails_to: str = "") -> None:
        self.fails_to, self.done = fails_to, list[str]()

    def _do(self, what: str) -> None:
        self.done.append(what)
        if what == self.fails_to:
            raise KeycastError(f"It fails to {what}.")

    def open(self) -> None:
        self._do("open")

    def write(self, number: int, picture: Pictures) -> None:
        self._do(f"write {number} {picture.shape}")

    def close(self) -> None:
        self._do("close")


def test_several_sinks_get_the_same_and_all_are_closed_even_when_one_fails_to() -> None:
    sinks = Noted(), Noted("close"), Noted()
    together = Sinks(sinks)
    together.open()
    together.write(3, picture(3))
    with pytest.raises(KeycastError):
        together.close()
    assert [sink.done for sink in sinks] == [["open", "write 3 (256, 256, 3)", "close"]] * 3


def test_the_sink_follows_the_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not has_screen()
    assert make_sink(None)._sinks == ()
    assert isinstance(make_sink("none", [tmp_path / "A.MP4"])._sinks[0], Mp4Sink)
    assert isinstance(make_sink(None, [tmp_path / "a.npy"])._sinks[0], RawSink)
    with pytest.raises(RequestError, match="There is no screen"):
        make_sink("window")
    with pytest.raises(RequestError, match=r"a name that ends in \.mp4 or \.npy"):
        make_sink(None, [tmp_path / "a.avi"])
    monkeypatch.setenv("DISPLAY", ":0")
    assert has_screen()
    assert len(make_sink(None, [tmp_path / "a.mp4"])._sinks) == 2


def test_two_outputs_are_two_files(tmp_path: Path) -> None:
    both = [tmp_path / "a.mp4", tmp_path / "a.npy"]
    together = make_sink("none", both)
    together.open()
    for number in range(40):
        together.write(number, picture(number))
    together.close()
    assert len(np.load(both[1])) == len(shown(both[0])[1]) == 40
    with pytest.raises(RequestError, match="cannot share a file"):
        make_sink("none", [tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "a.mp4"])


def test_where_one_fails_the_others_keep_what_they_have(tmp_path: Path) -> None:
    fails = f"write 20 {picture(20).shape}"
    together = Sinks([Mp4Sink(tmp_path / "a.mp4"), Noted(fails), RawSink(tmp_path / "a.npy")])
    together.open()
    for number in range(20):
        together.write(number, picture(number))
    with pytest.raises(KeycastError, match="It fails"):
        together.write(20, picture(20))
    together.close()
    assert shown(tmp_path / "a.mp4")[1] == list(range(21))
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), [picture(n) for n in range(20)])


class Told(Noted):
    """A sink that shows figures."""

    def tell(self, figures: Figures) -> None:
        self._do(f"tell {figures['state']}")


def test_figures_go_to_those_that_show_them() -> None:
    plain, watched = Noted(), Told()
    assert not Sinks([plain]).is_watched
    together = Sinks([plain, watched])
    assert together.is_watched
    together.tell({"state": "live"})
    assert (plain.done, watched.done) == ([], ["tell live"])


def test_the_frames_of_the_next_call_follow_those_of_the_one_before() -> None:
    sink = Noted()
    together = Sinks([sink])
    for numbers in ((5, 6, 8), (0, 2), (70_000,)):
        together.new_call()
        for number in numbers:
            together.write(number, picture(3))
    assert [line.split()[1] for line in sink.done] == ["5", "6", "8", "9", "11", "12"]


def test_files_keep_the_size_of_their_first_frame(tmp_path: Path) -> None:
    """Calls after each other may be of different sizes; a file is not."""
    sinks = make_sink("none", [tmp_path / "a.mp4", tmp_path / "a.npy"])
    sinks.open()
    for number, side in enumerate((384, 256, 512)):
        sinks.new_call()
        sinks.write(number, np.full((side, side, 3), 50 + 60 * number, np.uint8))
    sinks.close()
    kept = np.load(tmp_path / "a.npy")
    assert kept.shape == (3, 384, 384, 3)
    assert [int(frame.mean()) for frame in kept] == [50, 110, 170]
    with av.open(str(tmp_path / "a.mp4")) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert [frame.shape for frame in shown] == [(384, 384, 3)] * 3
    assert [frame.mean() for frame in shown] == pytest.approx([50, 110, 170], abs=4)
