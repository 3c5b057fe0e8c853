"""Videos play with the frames that were given, and pictures show what they should."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from bench.harness.media import (
    GAP,
    HEADER,
    at_once,
    contact_sheet,
    mark,
    side_by_side,
    write_file,
    write_mp4,
    write_npy,
)
from shared.errors import KeycastError, RequestError
from shared.keypoints import Pictures

GREY = np.full((256, 256, 3), 128, np.uint8)
GREEN = np.zeros((256, 256, 3), np.uint8)
GREEN[..., 1] = 200


def test_an_mp4_has_every_frame_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    frames = [np.full((64, 96, 3), 20 * level, np.uint8) for level in range(10)]
    assert write_mp4(path, iter(frames), fps=25) == 10
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (96, 64, 25)
        assert stream.codec_context.pix_fmt == "yuv420p"
        decoded = [
            (frame.time, frame.to_ndarray(format="rgb24").mean()) for frame in container.decode(stream)
        ]
    assert [time for time, _ in decoded] == pytest.approx([n / 25 for n in range(10)])
    assert [level for _, level in decoded] == pytest.approx([20 * n for n in range(10)], abs=3)


def test_a_failure_on_the_way_leaves_no_file(tmp_path: Path) -> None:
    def frames() -> Iterator[Pictures]:
        yield GREY
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_mp4(tmp_path / "a.mp4", frames())
    with pytest.raises(KeycastError, match="no frame"):
        write_mp4(tmp_path / "a.mp4", [])
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no folder"):
        write_mp4(tmp_path / "missing" / "a.mp4", [GREY])
    with pytest.raises(RequestError, match="is a folder"):
        write_file(tmp_path, b"x")


def test_side_by_side_keeps_the_pictures_and_marks_forecasts() -> None:
    plain = side_by_side(GREY, GREEN, "paper 28.8 kbps")
    marked = side_by_side(GREY, GREEN, "paper 28.8 kbps", forecast=True)
    assert plain.shape == (256 + HEADER, 512 + GAP, 3)
    assert (plain[HEADER:, :256] == GREY).all()
    assert (plain[HEADER:, 256 + GAP :] == GREEN).all()
    different = np.nonzero((plain != marked).any(-1))
    assert len(different[0]) > 100
    assert different[0].max() < HEADER
    assert different[1].min() > 256 + GAP


def test_a_mark_stands_in_the_upper_right_corner_of_a_copy() -> None:
    marked = mark(GREY, "forecast")
    rows, columns = np.nonzero((marked != GREY).any(-1))
    assert (GREY == 128).all()
    assert len(rows) > 500
    assert rows.max() < HEADER
    assert columns.min() > 128


def test_films_of_two_clocks_are_seen_at_once() -> None:
    even = [np.full((1,), value, np.uint8) for value in range(5)]
    late = [np.full((1,), value, np.uint8) for value in (70, 71, 72)]
    films = [([0, 10, 20, 30, 40], even), ([15, 16, 38], late)]
    seen = [[int(picture[0]) for picture in pictures] for pictures in at_once(films, 10)]
    # What was over before the other began is not shown, nor what it shows after the other has ended.
    assert seen == [[1, 70], [2, 71], [3, 71]]
    assert not list(at_once([([], []), ([0.0], even)], 10))


def test_side_by_side_has_even_sides_for_video(tmp_path: Path) -> None:
    assert write_mp4(tmp_path / "a.mp4", [side_by_side(GREY, GREEN)] * 2) == 2


def test_a_contact_sheet_shows_every_picture_beside_its_label() -> None:
    sheet = Image.open(
        io.BytesIO(contact_sheet([("source", [GREY, GREEN]), ("received", [GREEN])], ("0 s", "1 s")))
    )
    assert sheet.format == "PNG"
    pixels = np.asarray(sheet)
    assert (pixels == GREY[0, 0]).all(-1).sum() >= 160 * 160
    assert (pixels == GREEN[0, 0]).all(-1).sum() >= 2 * 160 * 160
    assert sheet.height == HEADER + 2 * (160 + GAP)


def test_an_npy_is_the_array_of_its_frames(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (1234, 4, 6, 3), np.uint8)
    assert write_npy(tmp_path / "a.npy", iter(frames)) == 1234
    assert (np.load(tmp_path / "a.npy") == frames).all()


def test_an_npy_that_fails_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(KeycastError, match="no frame"):
        write_npy(tmp_path / "a.npy", [])
    with pytest.raises(ValueError, match="a frame is"):
        write_npy(tmp_path / "a.npy", [GREY, GREY[:5]])
    assert not list(tmp_path.iterdir())
