import logging
import pickle
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from models.clips.layouts import find_clips
from models.clips.video import timed_pictures
from models.training.data.frames import FRAMES_PER_CLIP, fill_cache, load_clips
from shared.errors import KeycastError, RequestError


def write_clip(path: Path, count: int, fps: int = 24, size: tuple[int, int] = (64, 64)) -> Path:
    """A grey clip whose brightness rises frame by frame, with one bright square that moves to the right."""
    width, height = size
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(count):
            picture = np.full((height, width, 3), 40 + index % 100, np.uint8)
            left = 2 * index % (width - 16)
            picture[height // 2 - 8 : height // 2 + 8, left : left + 16] = 250
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return path


def test_clips_are_thinned_to_a_few_frames_a_second(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", 25)
    (clip,) = load_clips([tmp_path], tmp_path / "cache")
    assert clip.name == "a.mp4"
    assert len(clip.frames) == 9
    first, last = clip.picture(0), clip.picture(8)
    assert first.shape == (256, 256, 3)
    assert first.dtype == np.uint8
    # Frame 24 is 24 levels brighter than the first, in its corner.
    assert int(last[0, 0, 0]) - int(first[0, 0, 0]) == pytest.approx(24, abs=4)


def test_a_table_says_who_is_in_which_clip(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_clip(tmp_path / f"{name}.mp4", 9)
    (tmp_path / "clips.csv").write_text("file,person\na.mp4,Ada\n")
    assert [clip.person for clip in load_clips([tmp_path], tmp_path / "cache")] == ["Ada", "b"]
    (tmp_path / "clips.csv").write_text("name\na.mp4\n")
    with pytest.raises(RequestError, match="columns file and person"):
        load_clips([tmp_path], tmp_path / "cache")


def test_long_clips_are_spread_over_their_length(tmp_path: Path) -> None:
    write_clip(tmp_path / "long.mp4", 300, fps=8, size=(32, 32))
    (clip,) = load_clips([tmp_path], tmp_path / "cache")
    assert FRAMES_PER_CLIP // 2 <= len(clip.frames) <= FRAMES_PER_CLIP
    # Every fourth frame; the brightness starts again at every hundredth.
    levels = [int(clip.picture(index)[0, 0, 0]) for index in (0, 24, 50, 74)]
    np.testing.assert_allclose(np.array(levels) - levels[0], [0, 96, 0, 96], atol=5)


def test_broken_files_are_skipped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = write_clip(tmp_path / "good.mp4", 25).read_bytes()
    (tmp_path / "junk.mp4").write_bytes(b"junk")
    (tmp_path / "cut.mp4").write_bytes(whole[:200])
    (tmp_path / "notes.txt").write_text("not a video")
    write_clip(tmp_path / "single.mp4", 1)
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with caplog.at_level(logging.WARNING):
        clips = load_clips([tmp_path], tmp_path / "cache")
    assert [clip.name for clip in clips] == ["good.mp4"]
    text = caplog.text
    assert text.count("Skipped") == 5
    assert "fewer than two frames" in text
    assert "holds no video" in text
    assert "Skipped 4 of 5 clips" in text


def test_nothing_to_train_on_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no folder"):
        load_clips([tmp_path / "none"], tmp_path / "cache")
    with pytest.raises(RequestError, match="No video below"):
        load_clips([tmp_path], tmp_path / "cache")
    (tmp_path / "junk.mp4").write_bytes(b"junk")
    with pytest.raises(RequestError, match="None of the clips"):
        load_clips([tmp_path], tmp_path / "cache")
    with pytest.raises(RequestError, match="--cache"):
        load_clips([tmp_path], tmp_path / "junk.mp4" / "cache")


def contents(folder: Path, cache: Path) -> list[list[bytes]]:
    return [list(clip.frames) for clip in load_clips([folder], cache)]


def test_processes_share_the_decoding_and_a_cache_entry_travels_as_its_path(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for name in "abc":
        write_clip(tmp_path / f"{name}.mp4", 9)
    (tmp_path / "d.mp4").write_bytes(b"junk")
    fill_cache([tmp_path], cache, 1, 2)
    assert len(list(cache.iterdir())) == 1
    fill_cache([tmp_path], cache, 0, 2)
    assert len(list(cache.iterdir())) == 3
    frames = load_clips([tmp_path], cache)[0].frames
    assert [*frames[1:3], frames[-1]] == [frames[1], frames[2], list(frames)[-1]]
    packed = pickle.dumps(frames)
    assert len(packed) < 1000
    # Who gets it reads no more than it is asked for: the checksum of many gigabytes is not made again.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.training.data.frames.zlib.crc32", lambda _: pytest.fail("all of it is read"))
        assert list(pickle.loads(packed)) == list(frames)
    with pytest.raises(IndexError):
        frames[len(frames)]


def test_the_cache_is_used_until_the_clip_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, cache = tmp_path / "a.mp4", tmp_path / "cache"
    write_clip(clip, 25)
    before = contents(tmp_path, cache)
    assert [file.suffix for file in cache.iterdir()] == [".npy"]
    decoded: list[Path] = []
    monkeypatch.setattr("models.training.data.frames.open_clip", decoded.append)
    assert contents(tmp_path, cache) == before
    assert not decoded
    monkeypatch.undo()
    write_clip(clip, 49)
    assert len(load_clips([tmp_path], cache)[0].frames) == 17


def test_a_damaged_cache_entry_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = tmp_path / "cache"
    write_clip(tmp_path / "a.mp4", 25)
    before = contents(tmp_path, cache)
    (entry,) = cache.iterdir()
    whole = entry.read_bytes()
    spoiled = bytearray(whole)
    spoiled[len(whole) // 2] ^= 0xFF
    for damage in (b"", whole[: len(whole) // 2], b"junk", bytes(spoiled)):
        entry.write_bytes(damage)
        assert contents(tmp_path, cache) == before
        assert entry.read_bytes() == whole
    assert caplog.text.count("Decoding again, as the cache entry") == 4


def test_a_cache_that_cannot_be_written_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clip(tmp_path / "a.mp4", 9)

    def full(*_args: object, **_named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(KeycastError, match="No space left"):
        load_clips([tmp_path], tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("size", [(96, 64), (64, 96)])
def test_the_centre_square_is_taken(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[height // 2 - 32 : height // 2 + 32, width // 2 - 32 : width // 2 + 32] = 200
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "bgr0"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode(None))
    ((_, picture),) = timed_pictures(path)
    assert picture.shape == (256, 256, 3)
    assert (picture == 200).all()


def test_times_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "uneven.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", Fraction(1, 1000)
        for milliseconds in (0, 40, 80, 240, 280):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
            frame.pts, frame.time_base = milliseconds, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert find_clips([tmp_path]) == [(tmp_path, path)]
    times = [time for time, _ in timed_pictures(path)]
    np.testing.assert_allclose(times, [0, 0.04, 0.08, 0.24, 0.28], atol=1e-6)
