import logging
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from bench.harness.clip_set import find_clips as clips_to_measure
from models.clips.layouts import (
    clip_name,
    find_clips,
    signature,
    training_part,
    validation_folders,
    validation_part,
)
from models.clips.people import person_of
from models.clips.video import FOLDER_FPS, timed_pictures
from models.training.data.frames import load_clips
from shared.errors import RequestError


def frames_in(folder: Path, count: int, size: tuple[int, int] = (48, 40), ending: str = "png") -> Path:
    """A folder of frames without leading zeros in their names, 20 levels of grey apart."""
    folder.mkdir(parents=True)
    for index in range(count):
        Image.new("RGB", size, (20 * index,) * 3).save(folder / f"frame{index}.{ending}")
    return folder


def gif(path: Path, count: int, duration: int = 40) -> Path:
    """Each frame adds one square to what is there; only what changes is in the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas, frames = Image.new("RGB", (64, 64), "navy"), []
    for index in range(count):
        canvas.paste("yellow", (8 * index, 8, 8 * index + 6, 56))
        frames.append(canvas.copy())
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=duration, loop=0)
    return path


def mp4(path: Path, count: int = 24, faststart: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    options = {"movflags": "faststart"} if faststart else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(count):
            picture = rng.integers(0, 256, (32, 32, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return path


def names(folder: Path) -> list[str]:
    return [str(clip.relative_to(folder)) for _, clip in find_clips([folder])]


def test_every_layout_is_found_and_nothing_else(tmp_path: Path) -> None:
    mp4(tmp_path / "b" / "id1#x#2.mp4")
    frames_in(tmp_path / "b" / "id1#x#10.mp4", 2)
    frames_in(tmp_path / "b" / "id1#x#9.mp4", 2)
    gif(tmp_path / "mgif" / "0001.gif", 2)
    frames_in(tmp_path / "bair" / "test" / "0", 2, ending="jpg")
    (tmp_path / "bair" / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "pairs_list.csv").write_text("source,driving\n")
    (tmp_path / ".hidden").mkdir()
    mp4(tmp_path / ".hidden" / "a.mp4")
    Image.new("RGB", (8, 8)).save(tmp_path / "b" / "poster.png")
    assert names(tmp_path) == [
        "b/id1#x#2.mp4",
        "b/id1#x#9.mp4",
        "b/id1#x#10.mp4",
        "bair/empty",
        "bair/test/0",
        "mgif/0001.gif",
    ]


def test_a_folder_of_frames_may_be_all_that_is_given(tmp_path: Path) -> None:
    clip = frames_in(tmp_path / "clip", 3)
    assert find_clips([clip]) == [(clip, clip)]
    assert clip_name(clip, clip) == person_of(clip, clip, {}) == "clip"
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match="No video below"):
        find_clips([tmp_path / "empty"])


def test_links_are_followed_but_not_for_ever(tmp_path: Path) -> None:
    frames_in(tmp_path / "far" / "clip", 2)
    root = tmp_path / "root"
    root.mkdir()
    (root / "linked").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "back").symlink_to(root)
    (root / "gone.mp4").symlink_to(tmp_path / "none.mp4")
    assert names(root) == ["gone.mp4", "linked/clip"]


def test_frames_come_in_natural_order_at_the_rate_of_voxceleb(tmp_path: Path) -> None:
    clip = frames_in(tmp_path / "clip", 12)
    times, pictures = zip(*timed_pictures(clip), strict=True)
    np.testing.assert_allclose(times, np.arange(12) / FOLDER_FPS)
    assert [int(picture[0, 0, 0]) for picture in pictures] == [20 * index for index in range(12)]
    assert {picture.shape for picture in pictures} == {(256, 256, 3)}


def test_the_centre_of_a_frame_is_taken_and_what_is_clear_is_white(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    wide = Image.new("RGBA", (96, 32), (255, 0, 0, 255))
    wide.paste((0, 0, 0, 0), (32, 0, 48, 32))
    wide.paste((0, 0, 255, 255), (48, 0, 64, 32))
    wide.save(tmp_path / "clip" / "0.png")
    Image.new("L", (20, 30), 7).save(tmp_path / "clip" / "1.png")
    (_, first), (_, second) = timed_pictures(tmp_path / "clip")
    assert first[128, 20].tolist() == [255, 255, 255]
    assert first[128, -20].tolist() == [0, 0, 255]
    assert not (first == [255, 0, 0]).all(-1).any()
    assert (second == 7).all()


def test_gifs_are_composed_and_timed(tmp_path: Path) -> None:
    pictures = list(timed_pictures(gif(tmp_path / "a.gif", 5)))
    np.testing.assert_allclose([time for time, _ in pictures], np.arange(5) * 0.04)
    for index, (_, picture) in enumerate(pictures):
        # Of each square that was drawn up to here, the middle is yellow.
        yellow = [tuple(picture[128, 32 * square + 12]) == (255, 255, 0) for square in range(6)]
        assert yellow == [square <= index for square in range(6)]


def test_a_gif_without_times_is_shown_as_browsers_do(tmp_path: Path) -> None:
    times = [time for time, _ in timed_pictures(gif(tmp_path / "a.gif", 3, duration=0))]
    np.testing.assert_allclose(times, [0, 0.1, 0.2])


def test_broken_clips_of_every_layout_are_skipped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root, cache = tmp_path / "root", tmp_path / "cache"
    frames_in(root / "good", 6)
    gif(root / "good.gif", 6)
    whole = mp4(root / "good.mp4", faststart=True).read_bytes()
    (root / "late.mp4").write_bytes(whole[: len(whole) // 2])
    (root / "early.mp4").write_bytes(whole[:100])
    (root / "empty").mkdir()
    frames_in(root / "single", 1)
    gif(root / "single.gif", 1)
    (root / "cut.gif").write_bytes((root / "good.gif").read_bytes()[:60])
    (root / "gone.mp4").symlink_to(tmp_path / "none.mp4")
    # Neither is among the frames that are kept, at eight a second.
    cut, junk = frames_in(root / "cut", 6) / "frame4.png", frames_in(root / "junk", 6) / "frame5.png"
    cut.write_bytes(cut.read_bytes()[:-30])
    junk.write_bytes(b"junk")
    with caplog.at_level(logging.WARNING):
        clips = load_clips([root], cache)
    assert [clip.name for clip in clips] == ["good", "good.gif", "good.mp4"]
    assert [len(clip.frames) for clip in clips] == [2, 2, 8]
    assert "Skipped 9 of 12 clips" in caplog.text
    for name in (
        "late.mp4",
        "early.mp4",
        "empty",
        "single",
        "single.gif",
        "cut.gif",
        "gone.mp4",
        "cut",
        "junk",
    ):
        assert f"Skipped {root / name}: " in caplog.text
    assert "of 24 frames" in caplog.text
    assert "frame5.png" in caplog.text


def test_an_oversized_picture_breaks_its_clip_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    frames_in(tmp_path / "good", 4)
    frames_in(tmp_path / "large", 4, size=(80, 80))
    frames_in(tmp_path / "huge", 4, size=(160, 160))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 48 * 40)
    with caplog.at_level(logging.WARNING):
        clips = load_clips([tmp_path], tmp_path / "cache")
    assert [clip.name for clip in clips] == ["good"]
    assert caplog.text.count("not a usable picture") == 2


def test_a_changed_frame_is_seen(tmp_path: Path) -> None:
    clip = frames_in(tmp_path / "clip", 3)
    before = signature(clip)
    assert signature(clip) == before
    Image.new("RGB", (9, 9), "red").save(clip / "frame1.png")
    changed = signature(clip)
    (clip / "frame2.png").unlink()
    assert len({before, changed, signature(clip)}) == 3


def test_a_folder_shows_the_same_people_to_training_and_to_measurements(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    (folder / "id7").mkdir(parents=True)
    for name in ("a.mp4", "id7/b.mp4", "id9#v#1.mp4", "c2.mp4", "c10.mp4"):
        mp4(folder / name)
    (folder / "clips.csv").write_text("file,person\na.mp4,ann\nid7/b.mp4,ben\nc2.mp4,cy\n")
    trained = {clip.name: clip.person for clip in load_clips([folder], tmp_path / "cache")}
    measured, missing = clips_to_measure([folder])
    assert not missing
    assert {clip.name: clip.person for clip in measured} == trained
    assert trained == {"a.mp4": "ann", "b.mp4": "ben", "id9#v#1.mp4": "id9", "c2.mp4": "cy", "c10.mp4": "c10"}
    assert [clip.name for clip in measured] == [*trained]


@pytest.mark.parametrize("tables", ["above", "in each"])
def test_a_split_folder_shows_the_same_people_whole_or_in_parts(tables: str, tmp_path: Path) -> None:
    """Training reads `train`, measurements the whole: one has its table above it, the other below."""
    root = tmp_path / "set"
    long = "x" * 50
    who = {"train/a.mp4": "ann", "train/c.mp4": f"{long}1", "test/a.mp4": "ben", "test/d.mp4": f"{long}2"}
    for file in who:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        mp4(root / file)
    if tables == "above":
        lines = [f"{file},{person}" for file, person in who.items()]
        (root / "clips.csv").write_text("\n".join(["file,person", *lines]))
    else:
        for part in ("train", "test"):
            lines = [f"{Path(file).name},{person}" for file, person in who.items() if file.startswith(part)]
            (root / part / "clips.csv").write_text("\n".join(["file,person", *lines]))
    measured, missing = clips_to_measure([root])
    assert not missing
    assert {clip.file.relative_to(root).as_posix(): clip.person for clip in measured} == who
    for part in ("train", "test"):
        trained = load_clips([root / part], tmp_path / "cache")
        assert {f"{part}/{clip.name}": clip.person for clip in trained} == {
            file: person for file, person in who.items() if file.startswith(part)
        }


def test_who_is_in_a_clip_is_told_by_table_name_or_folder(tmp_path: Path) -> None:
    def person(place: str, **people: str) -> str:
        return person_of(tmp_path, tmp_path / place, {f"{name}.mp4": who for name, who in people.items()})

    assert person("a.mp4", a="ann") == "ann"
    # A place says more than a name, which may be there twice.
    assert person_of(tmp_path, tmp_path / "b/a.mp4", {"a.mp4": "ann", "b/a.mp4": "ben"}) == "ben"
    assert person_of(tmp_path, tmp_path / "c/a.mp4", {"a.mp4": "ann", "b/a.mp4": "ben"}) == "ann"
    assert person("id10280#NXjT#001.mp4") == "id10280"
    assert person("id7/video/00001.mp4") == "id7"
    assert person("train/id7/00001.mp4") == "id7"
    assert person("train/id9#v#1.mp4") == "id9"
    assert person("a.mp4", b="ben") == "a"
    assert person("#1.mp4") == "#1"
    assert person("0.5/clip.001") == "0.5"
    assert clip_name(tmp_path, tmp_path / "id7/a.b/00001.MP4") == "id7-a.b-00001"
    assert clip_name(tmp_path, tmp_path / "clip.001") == "clip.001"


def test_a_split_data_set_is_used_as_split(tmp_path: Path) -> None:
    root, plain = tmp_path / "vox", tmp_path / "plain"
    for folder in (root / "train", root / "test", plain / "train"):
        folder.mkdir(parents=True)
    assert training_part([root, plain]) == [root / "train", plain]
    assert validation_part([root, plain]) == [root / "test", plain]
    assert validation_folders([plain, root], None) == [root / "test"]
    assert validation_folders([root], [plain]) == [plain]
    assert validation_folders([plain], [root]) == [root / "test"]
    with pytest.raises(RequestError, match="--validate"):
        validation_folders([plain], None)


def test_a_clip_that_vanishes_between_two_runs_is_skipped(tmp_path: Path) -> None:
    frames_in(tmp_path / "a", 4)
    found = find_clips([tmp_path])
    shutil.rmtree(tmp_path / "a")
    ((_, clip),) = found
    with pytest.raises(OSError, match="No such file"):
        list(timed_pictures(clip))
