"""The command from end to end, and its refusals."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from animate.animate_command import driving_frames, main, source_picture
from animate.animation import Job, animate
from bench.harness.media import write_mp4
from models.build import SHIPPED
from models.forecast.baselines import Hold
from models.lite.layout import LAYOUT
from sender.demo import DemoSource
from shared.constants import Schedule
from shared.errors import RequestError
from shared.interfaces import Source
from shared.keypoints import Floats, Pictures
from tests.kept import Kept, Transferring

pytestmark = pytest.mark.slow

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a 14-frame clip and a picture of another size."""
    folder = tmp_path_factory.mktemp("animate")
    source = DemoSource(14 / 30)
    write_mp4(folder / "clip.mp4", driving_frames(source))
    source.close()
    Image.fromarray(np.full((300, 500, 3), 90, np.uint8)).save(folder / "face.png")
    return folder


def command(place: Path, output: Path, *more: str) -> list[str]:
    return [
        "--driving", str(place / "clip.mp4"), "--output", str(output), "--backbone", "lite",
        "--device", "cpu", *more,
    ]  # fmt: skip


def test_a_picture_moves_into_an_mp4(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.mp4"
    assert main(command(place, output, "--source", str(place / "face.png"))) == 0
    with av.open(str(output)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 14
    assert frames[0].shape == (256, 256, 3)
    assert f"wrote {output} (14 frames)" in capsys.readouterr().out


def test_an_npy_holds_every_frame(place: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.npy"
    assert main(command(place, output, "--forecaster", "hold", "--observe", "3", "--predict", "2")) == 0
    frames = np.load(output)
    assert frames.shape == (14, 256, 256, 3)
    assert frames.dtype == np.uint8


class Recorder(Transferring):
    """A network whose keypoints are the frame's grey level, and whose pictures are nothing."""

    name = "recorder"
    fingerprint = ""
    layout = LAYOUT
    size = 256

    def __init__(self) -> None:
        self.detected: list[int] = []
        self.rendered: list[Floats] = []

    def detect(self, frames: Pictures) -> Floats:
        levels = frames[:, 0, 0, 0]
        self.detected += levels.tolist()
        return np.stack([self._points(level / 1000) for level in levels])

    def encode(self, picture: Pictures) -> Kept:
        return Kept(self._points(0.5), picture)

    def render(self, source: Source, keypoints: Floats) -> Pictures:  # noqa: ARG002
        self.rendered += list(keypoints)
        return np.zeros((len(keypoints), 256, 256, 3), np.uint8)

    def warmup(self, *, detect: bool = True, render: bool = True) -> None:
        pass

    @staticmethod
    def _points(x: float) -> Floats:
        eye = np.tile([1, 0, 0, 1], 10)
        return np.concatenate([np.full(20, x), eye]).astype(np.float32)


def levels(count: int) -> list[Pictures]:
    return [np.full((256, 256, 3), 10 + n, np.uint8) for n in range(count)]


def test_transfer_moves_relative_to_the_first_driving_frame() -> None:
    network = Recorder()
    drawn = list(animate(Job(network, "transfer"), levels(1)[0], iter(levels(30))))
    assert len(drawn) == 30
    assert [row[0] for row in network.rendered] == pytest.approx([0.5 + n / 1000 for n in range(30)])


def test_reconstruction_takes_the_keypoints_as_they_are() -> None:
    network = Recorder()
    list(animate(Job(network, "reconstruction"), levels(1)[0], iter(levels(30))))
    assert [row[0] for row in network.rendered] == pytest.approx([(10 + n) / 1000 for n in range(30)])


def test_only_observed_frames_are_detected_and_the_others_are_forecast() -> None:
    network = Recorder()
    job = Job(network, "reconstruction", Hold(), Schedule(6, 6))
    assert len(list(animate(job, levels(1)[0], iter(levels(31))))) == 31
    assert network.detected == [10 + n for n in range(31) if n % 12 < 6]
    shown = [1000 * row[0] - 10 for row in network.rendered]
    assert shown[:6] == pytest.approx(range(6), abs=1e-3)
    assert shown[6:12] == pytest.approx([5] * 6, abs=1e-3)
    assert shown[23] == pytest.approx(17, abs=1e-3)


def square(centre: float, size: float) -> Floats:
    """Keypoints whose hull is a square of side `size`; some lie inside of it."""
    corners = [(-1, -1), (-1, 1), (1, 1), (1, -1)]
    places = (
        np.array([*corners, *[(0.5 * x, 0.2 * y) for x, y in corners], (0, 0), (1, 0)]) * size / 2 + centre
    )
    return np.concatenate([places.ravel(), np.tile([1, 0, 0, 1], 10)]).astype(np.float32)


class Growing(Recorder):
    """Its source's points span twice what those of the driving frames span."""

    @staticmethod
    def _points(x: float) -> Floats:
        return square(x, 0.8 if x == 0.5 else 0.4)


def test_adapted_motion_is_as_much_larger_as_the_face() -> None:
    network = Growing()
    list(animate(Job(network, "transfer", adapt_scale=True), levels(1)[0], iter(levels(20))))
    moved = [row[0] - network.rendered[0][0] for row in network.rendered]
    assert moved == pytest.approx([2 * n / 1000 for n in range(20)], abs=1e-5)
    assert network.rendered[0] == pytest.approx(square(0.5, 0.8))


def test_forecast_frames_are_marked_and_no_others() -> None:
    job = Job(Recorder(), "reconstruction", Hold(), Schedule(3, 2), mark=True)
    drawn = list(animate(job, levels(1)[0], iter(levels(10))))
    assert [bool(picture.any()) for picture in drawn] == [False, False, False, True, True] * 2


@pytest.mark.parametrize("name", ["odd.mkv", "tall.mp4", "moving.gif"])
def test_videos_of_any_shape_drive(place: Path, tmp_path: Path, name: str) -> None:
    shapes = {"odd.mkv": (133, 201), "tall.mp4": (320, 180), "moving.gif": (57, 33)}
    pictures = [np.full((*shapes[name], 3), 40 * n, np.uint8) for n in range(4)]
    if name == "moving.gif":
        first, *others = [Image.fromarray(picture) for picture in pictures]
        first.save(tmp_path / name, save_all=True, append_images=others, duration=100)
    else:
        write_video(tmp_path / name, pictures)
    output = tmp_path / "out.npy"
    assert main([*command(place, output), "--driving", str(tmp_path / name)]) == 0
    assert np.load(output).shape == (12 if name == "moving.gif" else 4, 256, 256, 3)


def write_video(path: Path, pictures: list[Pictures]) -> None:
    """Write `pictures` without loss; unlike H.264 for players, sides may be odd."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1" if path.suffix == ".mkv" else "mpeg4", rate=30)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "bgr0" if path.suffix == ".mkv" else "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))


def test_a_source_is_a_picture_or_a_first_frame(place: Path) -> None:
    assert (source_picture(str(place / "face.png")) == 90).all()
    assert source_picture(str(place / "clip.mp4")).shape == (256, 256, 3)
    assert source_picture("demo").shape == (256, 256, 3)
    with pytest.raises(RequestError, match="neither a picture nor a video"):
        source_picture(str(SHIPPED / "lite" / "config.json"))


@pytest.mark.parametrize(("change", "words"), [
    (["--output", "out.gif"], "neither in .mp4 nor in .npy"),
    (["--output", "missing/out.mp4"], "no folder"),
    (["--mode", "transfer"], "give one with --source"),
    (["--source", "missing.png"], "There is no picture missing.png"),
    (["--driving", "missing.mp4"], "There is no missing.mp4"),
    (["--crop", "0,0,400"], "reaches outside"),
    (["--crop", "big"], "is not a crop"),
    (["--observe", "0", "--forecaster", "hold"], "out of range"),
    (["--observe", "3"], "add --forecaster"),
    (["--mark"], "add --forecaster"),
    (["--adapt-scale"], "use it with --source"),
    (["--source", "demo", "--absolute", "--mode", "transfer"], "--absolute is --mode reconstruction"),
    (["--source", "demo", "--absolute", "--adapt-scale"], "use it with --source and --mode transfer"),
    (["--threads", "0"], "--threads 1 or more"),
    (["--checkpoint", "missing"], "missing"),
])  # fmt: skip
def test_a_wrong_request_is_one_sentence(  # noqa: PLR0917
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    change: list[str], words: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main([*command(place, tmp_path / "out.mp4"), *change]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("error: ")
    assert words in said[-1]
    assert "Traceback" not in "".join(said)
    assert not list(tmp_path.iterdir())


def test_ctrl_c_leaves_no_half_file(place: Path, tmp_path: Path) -> None:
    given = ["--driving", "demo", *command(place, tmp_path / "out.mp4")[2:]]
    with subprocess.Popen(
        [sys.executable, "-m", "animate.animate_command", *given],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    ) as child:
        assert child.stderr is not None
        said = b""
        # Wait until frames are being written.
        while not re.search(rb"[1-9]frame", said):
            said += os.read(child.stderr.fileno(), 1000) or pytest.fail(said.decode())
        assert list(tmp_path.iterdir())
        child.send_signal(signal.SIGINT)
        said += child.stderr.read()
        assert child.wait(20) == 130
    assert said.endswith(b"\nstopped\n")
    assert b"Traceback" not in said
    assert not list(tmp_path.iterdir())
