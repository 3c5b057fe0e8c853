import logging
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from models.build import load_backbone
from models.clips.video import timed_pictures
from models.lite.layout import LAYOUT
from models.training.__main__ import main
from models.training.data.extract import even_pace, track
from models.training.data.tracks import load_tracks, save_track
from shared.keypoints import Floats, Pictures
from tests.tinted import Tinted
from tests.tiny_lite import save_lite, untrained

pytestmark = pytest.mark.slow

torch.set_num_threads(1)


class Sized(Tinted):
    """Says of a frame how large it is."""

    def __init__(self) -> None:
        super().__init__(96)

    def detect(self, frames: Pictures) -> Floats:
        return np.full((len(frames), 17), frames.shape[1], np.float32)


def write_clip(path: Path, count: int, fps: int = 24) -> None:
    rng = np.random.default_rng(count)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(count):
            picture = rng.integers(0, 256, (64, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_lite(tmp_path_factory.mktemp("weights"), untrained())


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    (folder / "more").mkdir(parents=True)
    write_clip(folder / "a.mp4", 20)
    write_clip(folder / "more" / "b.mp4", 5, fps=30)
    (folder / "junk.mp4").write_bytes(b"junk")
    (folder / "clips.csv").write_text("file,person,seconds\na.mp4,ann,1\n")
    return folder


def command(clips: Path, output: Path, weights: Path) -> list[str]:
    line = f"tracks --clips {clips} --output {output} --backbone lite --checkpoint {weights} --device cpu"
    return line.split()


def test_every_frame_of_every_clip_is_in_its_track(
    clips: Path,
    tmp_path: Path,
    weights: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    output = tmp_path / "out" / "tracks"
    with caplog.at_level(logging.WARNING):
        assert main(command(clips, output, weights)) == 0
    assert "2 tracks made, 0 already there, 1 broken clips skipped" in capsys.readouterr().out
    assert "junk.mp4" in caplog.text
    backbone = load_backbone("lite", weights, "cpu")
    with np.load(output / "a.npz") as stored:
        assert stored["keypoints"].dtype == np.float32
        assert float(stored["fps"]) == pytest.approx(24)
        pictures = np.stack([picture for _, picture in timed_pictures(clips / "a.mp4")])
        np.testing.assert_allclose(stored["keypoints"], backbone.detect(pictures), atol=1e-5)
    tracks = load_tracks(output)
    assert {clip.name: clip.person for clip in tracks.clips} == {"a": "ann", "more-b": "more"}
    assert tracks.tracks_of == backbone.fingerprint


def test_only_what_this_detector_has_not_done_is_done(
    clips: Path, tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "tracks"
    assert main(command(clips, output, weights)) == 0
    before = (output / "a.npz").stat().st_mtime_ns
    save_track(output / "more-b.npz", np.zeros((5, 60), np.float32), 30.0, "b", "another detector", LAYOUT)
    assert main(command(clips, output, weights)) == 0
    assert "1 tracks made, 1 already there, 1 broken" in capsys.readouterr().out
    assert (output / "a.npz").stat().st_mtime_ns == before
    (output / "a.npz").write_bytes(b"cut short")
    assert main(command(clips, output, weights)) == 0
    assert len(load_tracks(output).clips) == 2


def test_a_wrong_request_is_one_sentence(
    clips: Path, tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def error_of(line: list[str]) -> str:
        assert main(line) == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1
        return lines[0]

    assert "no folder" in error_of(command(tmp_path / "none", tmp_path / "out", weights))
    assert "--output" in error_of(command(clips, clips / "junk.mp4" / "tracks", weights))
    write_clip(clips / "a.mkv", 5)
    assert "would share the track a" in error_of(command(clips, tmp_path / "out", weights))
    (clips / "a.mkv").unlink()
    (clips / "clips.csv").write_text("name;who\na.mp4;ann\n")
    assert "columns file and person" in error_of(command(clips, tmp_path / "out", weights))
    (clips / "clips.csv").unlink()
    for path in (clips / "a.mp4", clips / "more" / "b.mp4"):
        path.write_bytes(b"junk")
    assert "None of the clips" in error_of(command(clips, tmp_path / "out", weights))


def test_a_clip_of_one_frame_is_no_track(tmp_path: Path, weights: Path) -> None:
    write_clip(tmp_path / "one.mp4", 1)
    with pytest.raises(ValueError, match="fewer than two"):
        track(tmp_path / "one.mp4", load_backbone("lite", weights, "cpu"))


def test_a_network_sees_clips_as_large_as_it_wants_them(clips: Path) -> None:
    found, _ = track(clips / "a.mp4", Sized())
    assert {*found[:, 0]} == {96.0}


def at(times: np.ndarray) -> Floats:
    """Keypoints whose every number is the time in seconds."""
    return np.repeat(times[:, None], 60, axis=1).astype(np.float32)


def test_even_frames_stay_as_they_are_whatever_the_rounding() -> None:
    times = np.round(np.arange(50) / 30, 3) + 7
    keypoints, fps = even_pace(at(times), times)
    assert fps == pytest.approx(30, rel=1e-3)
    np.testing.assert_array_equal(keypoints, at(times))


def test_uneven_frames_are_brought_to_their_mean_rate() -> None:
    times = np.array([0.0, 0.04, 0.08, 0.28, 0.32])
    keypoints, fps = even_pace(at(times), times)
    assert fps == pytest.approx(12.5)
    np.testing.assert_allclose(keypoints[:, 0], np.arange(5) * 0.08, atol=1e-6)


@pytest.mark.parametrize(
    "times", [[0.0, 0.1, 0.1], [0.0, 0.2, 0.1], [0.0, 0.001, 0.002], [0.0, float("nan"), 1.0]]
)
def test_times_that_no_video_has_are_refused(times: list[float]) -> None:
    with pytest.raises(ValueError, match="timestamps"):
        even_pace(at(np.array(times)), np.array(times))


def test_gifs_and_folders_of_frames_have_tracks_too(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "clips" / "train" / "id7#video#0.5.mp4"
    clip.mkdir(parents=True)
    frames = [Image.new("RGB", (64, 64), (40 * index, 90, 90)) for index in range(6)]
    for index, frame in enumerate(frames):
        frame.save(clip / f"{index}.png")
    frames[0].save(tmp_path / "clips" / "0001.gif", save_all=True, append_images=frames[1:], duration=40)
    assert main(command(tmp_path / "clips", tmp_path / "tracks", weights)) == 0
    assert "2 tracks made, 0 already there, 0 broken" in capsys.readouterr().out
    tracks = load_tracks(tmp_path / "tracks")
    assert {track.name: track.person for track in tracks.clips} == {
        "0001": "0001",
        "train-id7#video#0.5": "id7",
    }
    # 25 frames a second became 30.
    assert {len(track.frames) for track in tracks.clips} == {7}
