"""The command from end to end, and its refusals."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from animate.animate_command import main
from animate.animation import Job, animate
from animate.inputs import driving_frames, open_driving, source_picture
from animate.writers import ENDINGS, write
from bench.harness.media import write_mp4
from models.build import SHIPPED
from models.forecast.baselines import Hold
from models.lite.layout import LAYOUT
from sender.demo import DemoSource
from sender.sound import FileSound
from shared.constants import Schedule
from shared.errors import KeycastError, RequestError
from shared.interfaces import Source
from shared.keypoints import Floats, Pictures
from shared.media.opus import RATE
from tests.kept import Kept, Transferring

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("lite_loaded_once")]

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


def test_a_larger_output_takes_a_larger_picture(place: Path, tmp_path: Path) -> None:
    """Here the first driving frame; motion is found in smaller frames."""
    output = tmp_path / "out.npy"
    assert main(command(place, output, "--size", "384")) == 0
    assert np.load(output, mmap_mode="r").shape == (14, 384, 384, 3)
    assert source_picture(str(place / "face.png"), 384).shape == (384, 384, 3)
    assert main(command(place, tmp_path / "out.png", "--size", "384", "--futures", "2")) == 2


class Recorder(Transferring):
    """A network whose keypoints are the frame's grey level, and whose pictures are nothing."""

    name = "recorder"
    fingerprint = ""
    layout = LAYOUT
    size = 256
    sizes = (256,)

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


@pytest.mark.parametrize("anchor", [0, 7, 29])
def test_motion_is_relative_to_the_frame_asked_for(anchor: int) -> None:
    network = Recorder()
    list(animate(Job(network, "transfer", anchor=anchor), levels(1)[0], iter(levels(30))))
    moved = [0.5 + (n - anchor) / 1000 for n in range(30)]
    assert [row[0] for row in network.rendered] == pytest.approx(moved, abs=1e-6)


class Posing(Recorder):
    """Its faces open their mouths, the lowest of the points, as far as frames are bright."""

    @staticmethod
    def _points(x: float) -> Floats:
        opened, place, size = (0.2, 0.1, 0.7) if x == 0.5 else (10 * (x - 0.01), -0.3, 0.3)
        face = square(place, size)
        face[[13, 15]] += size * opened
        return face


def test_the_frame_most_like_the_source_is_found_wherever_the_faces_are() -> None:
    network = Posing()
    list(animate(Job(network, "transfer", anchor=None), levels(1)[0], iter(levels(30))))
    at_rest = [np.allclose(row, Posing._points(0.5), atol=1e-6) for row in network.rendered]
    assert [n for n, rests in enumerate(at_rest) if rests] == [20]
    network = Posing()
    job = Job(network, "transfer", Hold(), Schedule(6, 6), anchor=None)
    list(animate(job, levels(1)[0], iter(levels(30))))
    assert len(network.rendered) == 30


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
    assert np.load(output).shape == (4, 256, 256, 3)


def write_video(path: Path, pictures: list[Pictures]) -> None:
    """Write `pictures` without loss; unlike H.264 for players, sides may be odd."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1" if path.suffix == ".mkv" else "mpeg4", rate=30)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "bgr0" if path.suffix == ".mkv" else "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))


def talking(path: Path, rate: Fraction, count: int) -> None:
    """Write flashes and beeps, at frames 5 and 25, in a picture 64x64 with sound on both sides."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate, options={"bf": "0"})
        audio = container.add_stream("aac", rate=44100, layout="stereo")
        video.width = video.height = 64
        video.pix_fmt, video.codec_context.time_base = "yuv420p", 1 / rate
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(
                np.full((64, 64, 3), 220 if number in FLASHES else 30, np.uint8)
            )
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        n = np.arange(round(44100 * count / rate))
        on = np.isin(n * float(rate) // 44100, FLASHES)
        left = np.where(on, 0.4 * np.sin(2 * np.pi * 1000 * n / 44100), 0).astype(np.float32)
        sound = np.stack([left, left / 2])
        for first in range(0, len(n), 1024):
            piece = np.ascontiguousarray(sound[:, first : first + 1024])
            part = av.AudioFrame.from_ndarray(piece, "fltp", "stereo")
            part.sample_rate, part.pts, part.time_base = 44100, first, Fraction(1, 44100)
            container.mux(audio.encode(part))
        container.mux(audio.encode(None))


FLASHES = (5, 25)


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(50)])
@pytest.mark.parametrize("ending", [".mp4", ".webm"])
def test_rate_length_and_sound_are_the_driving_videos(tmp_path: Path, rate: Fraction, ending: str) -> None:
    clip, output = tmp_path / "clip: 映像 1.mp4", tmp_path / f"out: Ω 1{ending}"
    talking(clip, rate, 40)
    driving = open_driving(str(clip), None, None, 256)
    assert driving.fps == rate
    assert write(output, driving_frames(driving.source), driving.fps, driving.sound()) == 40
    check_talking(output, rate)


def check_talking(output: Path, rate: Fraction) -> None:
    """See that pictures and sound of the clip `talking` made are where they were."""
    with av.open(str(output)) as container:
        video = container.streams.video[0]
        assert video.average_rate == pytest.approx(float(rate), rel=2e-3)
        times = [float(frame.pts * frame.time_base) for frame in container.decode(video)]
    assert times == pytest.approx([n / float(rate) for n in range(40)], abs=2e-3)
    heard = FileSound(output, channels=2).read(0, 2 * RATE)
    loud = np.flatnonzero(np.abs(heard[:, 0].astype(int)) > 3000)
    begins = [at for i, at in enumerate(loud) if i == 0 or at - loud[i - 1] > RATE // 20]
    assert begins == pytest.approx([n * RATE / rate for n in FLASHES], abs=0.02 * RATE)
    right, left = (float(np.abs(heard[:, side].astype(int)).max()) for side in (1, 0))
    assert right == pytest.approx(left / 2, rel=0.15)


def test_the_command_keeps_rate_and_sound_too(place: Path, tmp_path: Path) -> None:
    talking(tmp_path / "clip.mp4", Fraction(30000, 1001), 40)
    output = tmp_path / "out.mp4"
    assert main([*command(place, output), "--driving", str(tmp_path / "clip.mp4")]) == 0
    check_talking(output, Fraction(30000, 1001))


def test_sound_may_be_left_out(place: Path, tmp_path: Path) -> None:
    talking(tmp_path / "clip.mp4", Fraction(30), 10)
    given = [*command(place, tmp_path / "out.mp4"), "--driving", str(tmp_path / "clip.mp4"), "--no-audio"]
    assert main(given) == 0
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.audio


@pytest.mark.parametrize(("rate", "shown"), [(30, 14), (60, 7)])
def test_a_gif_keeps_pace_and_colours(tmp_path: Path, rate: int, shown: int) -> None:
    source = DemoSource(14 / 30)
    frames = list(driving_frames(source))
    source.close()
    assert write(tmp_path / "a.gif", iter(frames), Fraction(rate)) == shown
    with Image.open(tmp_path / "a.gif") as image:
        pictures = [np.asarray(frame.convert("RGB"), int) for frame in ImageSequence.Iterator(image)]
        lengths = [frame.info["duration"] for frame in ImageSequence.Iterator(image)]
    assert len(pictures) == shown
    assert sum(lengths) == pytest.approx(14 / rate * 1000, abs=25)
    assert min(lengths) >= 20
    every = 14 // shown
    assert max(np.abs(p - f).mean() for p, f in zip(pictures, frames[::every], strict=True)) < 6


def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    def frames() -> Iterator[Pictures]:
        yield np.zeros((256, 256, 3), np.uint8)
        raise OSError(28, "No space left on device")

    for ending in ENDINGS:
        with pytest.raises(KeycastError, match="No space left"):
            write(tmp_path / f"a{ending}", frames(), Fraction(30))
        with pytest.raises(KeycastError, match="no frame to write"):
            write(tmp_path / f"a{ending}", iter(()), Fraction(30))
    assert not list(tmp_path.iterdir())


def test_a_source_is_a_picture_or_a_first_frame(place: Path) -> None:
    assert (source_picture(str(place / "face.png"), 256) == 90).all()
    assert source_picture(str(place / "clip.mp4"), 256).shape == (256, 256, 3)
    assert source_picture("demo", 256).shape == (256, 256, 3)
    with pytest.raises(RequestError, match="neither a picture nor a video"):
        source_picture(str(SHIPPED / "lite" / "config.json"), 256)


@pytest.mark.parametrize(("change", "words"), [
    (["--output", "out.mov"], "does not end in any of .mp4 .webm .gif .npy"),
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
    (["--anchor", "first"], "use it with --source"),
    (["--source", "demo", "--anchor", "last"], "give best, first, or seconds"),
    (["--source", "demo", "--anchor", "nan"], "give best, first, or seconds"),
    (["--source", "demo", "--anchor", "60"], "give an earlier --anchor"),
    (["--source", "demo", "--absolute", "--mode", "transfer"], "--absolute means --mode reconstruction"),
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
