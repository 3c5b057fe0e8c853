import io
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from models.training.faces import find_marks
from PIL import Image

from models.training.data import Clip, load_stills
from models.training.pairs import Pairs, bent, moved, similarity, tint
from shared.errors import RequestError
from shared.keypoints import Pictures


def jpeg(picture: Pictures) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=95)
    return out.getvalue()


def grey(*levels: int, person: str = "") -> Clip:
    return Clip("grey", tuple(jpeg(np.full((256, 256, 3), level, np.uint8)) for level in levels), person)


def disc(x: float, y: float, radius: float = 0.1) -> Pictures:
    """White disc at (x, y) in [-1, 1] on black."""
    axis = (np.arange(256) * 2 + 1) / 256 - 1
    inside = (axis[None] - x) ** 2 + (axis[:, None] - y) ** 2 < radius**2
    return np.repeat((255 * inside).astype(np.uint8)[..., None], 3, axis=2)


def centre(picture: Pictures) -> tuple[float, float]:
    axis = (np.arange(256) * 2 + 1) / 256 - 1
    light = (picture[..., 0] > (int(picture.min()) + int(picture.max())) / 2).astype(float)
    return float((light * axis).sum() / light.sum()), float((light * axis[:, None]).sum() / light.sum())


def draw(pairs: Pairs, count: int) -> list[tuple[Pictures, Pictures]]:
    return [(a.numpy(), b.numpy()) for a, b, _ in islice(pairs, count)]


def test_pairs_depend_on_seed_and_rank_alone() -> None:
    clips = [grey(10, 60, 110), grey(160, 210)]
    first = draw(Pairs(clips, seed=3), 4)
    assert first[0][0].shape == first[0][1].shape == (3, 256, 256)
    assert first[0][0].dtype == np.uint8
    np.testing.assert_array_equal(first, draw(Pairs(clips, seed=3), 4))
    assert not np.array_equal(first, draw(Pairs(clips, seed=4), 4))
    assert not np.array_equal(first, draw(Pairs(clips, seed=3, rank=1), 4))


def test_a_pair_is_two_frames_of_one_clip_tinted_alike() -> None:
    # Neither the frames' difference nor the clip they are of is lost in the tint.
    for source, driving in draw(Pairs([grey(60, 70), grey(130, 140)], seed=0), 12):
        difference = abs(float(source.mean()) - float(driving.mean()))
        assert 6 < difference < 15


def test_people_count_by_the_root_of_their_frames_however_many_clips_they_have() -> None:
    clips = [grey(*[60] * 8, person="a"), grey(*[60] * 8, person="a"), grey(*[60] * 4, person="b")]
    np.testing.assert_allclose(Pairs(clips, seed=0).weights, [1 / 3, 1 / 3, 1 / 3])


def test_a_pair_is_mirrored_and_moved_as_a_whole_but_for_a_few() -> None:
    left = disc(-0.5, 0.1)
    pairs = draw(Pairs([Clip("disc", (jpeg(left), jpeg(left)))], seed=0), 60)
    sides = [float(source[..., :128].mean()) < float(source[..., 128:].mean()) for source, _ in pairs]
    assert {*sides} == {True, False}
    alike = [bool(np.array_equal(source, driving)) for source, driving in pairs]
    assert 0.75 < np.mean(alike) < 1


def test_stills_are_paired_with_bent_copies_of_themselves() -> None:
    still = jpeg(np.array(Image.fromarray(disc(0, 0, 0.5)).resize((200, 200))))
    pairs = draw(Pairs([grey(60, 60)], seed=0, stills=[still], still_share=0.5), 40)
    apart = [source.std() > 30 for source, _ in pairs]
    assert 0.3 < np.mean(apart) < 0.7
    for (source, driving), is_still in zip(pairs, apart, strict=True):
        assert source.shape == (3, 256, 256)
        assert bool(np.array_equal(source, driving)) is not is_still


def test_moves_are_those_of_positions() -> None:
    move = np.array([[0.9, -0.3, 0.2], [0.3, 0.9, -0.1]])
    x, y = centre(moved(disc(0.3, -0.2), move))
    assert (x, y) == pytest.approx((0.9 * 0.3 + 0.3 * 0.2 + 0.2, 0.3 * 0.3 - 0.9 * 0.2 - 0.1), abs=0.004)
    mirror = np.array([[-1.0, 0, 0], [0, 1, 0]])
    assert centre(moved(disc(0.3, -0.2), mirror)) == pytest.approx((-0.3, -0.2), abs=0.004)


def test_random_moves_stay_in_their_ranges() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        move = similarity(rng, 0.2, (0.8, 1.5), 0.1)
        scale = np.sqrt(np.linalg.det(move[:, :2]))
        assert 0.8 <= scale <= 1.5
        assert abs(np.arctan2(move[1, 0], move[0, 0])) <= 0.2
        assert (np.abs(move[:, 2]) <= 0.1).all()


def test_bending_moves_a_little() -> None:
    rng = np.random.default_rng(0)
    shifts = [np.hypot(*centre(bent(disc(0, 0), rng))) for _ in range(20)]
    assert 0.01 < np.mean(shifts) < 0.15


def test_now_and_then_a_pair_loses_its_colour() -> None:
    rng = np.random.default_rng(0)
    red = np.full((4, 4, 3), (200, 60, 60), np.uint8)
    spread = [int(np.ptp(tint([red, red], rng)[0][0, 0].astype(int))) for _ in range(200)]
    assert 2 < sum(s < 60 for s in spread) < 50


MARKS = np.array([[-0.2, -0.2], [0.2, -0.2], [0, 0], [-0.15, 0.2], [0.15, 0.2]], np.float32)


def test_marks_go_with_their_pictures_and_left_stays_left() -> None:
    clip = Clip("disc", (jpeg(disc(-0.2, -0.2)),) * 2)
    flipped = []
    for source, driving, marks in islice(Pairs([clip], seed=1, marks=[np.stack([MARKS, MARKS])]), 24):
        assert marks.shape == (2, 5, 2)
        for picture, mark in zip((source, driving), marks, strict=True):
            # A mirrored picture shows the disc on what is then the other eye.
            place = centre(np.moveaxis(picture.numpy(), 0, 2))
            eye = min((0, 1), key=lambda i: np.hypot(*(mark[i].numpy() - place)))
            assert place == pytest.approx(tuple(mark[eye].numpy()), abs=0.03)
            flipped.append(eye)
            assert mark[0, 0] < mark[1, 0]
    assert {*flipped} == {0, 1}
    (_, _, unknown) = next(iter(Pairs([clip], seed=1)))
    assert np.isnan(unknown.numpy()).all()


def test_broken_stills_are_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RequestError, match="no JPEG"):
        load_stills(tmp_path)
    (tmp_path / "a.jpg").write_bytes(jpeg(disc(0, 0)))
    (tmp_path / "b.jpg").write_bytes(jpeg(disc(0, 0))[:300])
    assert len(load_stills(tmp_path)) == 1
    assert "b.jpg" in caplog.text


def test_marks_of_pictures_without_faces_are_nan_and_kept(tmp_path: Path, face_detector: Path) -> None:
    clips = [grey(60, 70)]
    (first,) = find_marks(clips, face_detector, tmp_path)
    assert first.shape == (2, 5, 2)
    assert np.isnan(first).all()
    (entry,) = tmp_path.iterdir()
    np.save(entry, np.zeros((2, 5, 2), np.float32))
    assert not find_marks(clips, face_detector, tmp_path)[0].any()
    entry.write_bytes(b"junk")
    assert np.isnan(find_marks(clips, face_detector, tmp_path)[0]).all()


def test_the_demo_portrait_has_a_face_where_it_is_drawn(tmp_path: Path, face_detector: Path) -> None:
    from sender.demo import DemoSource

    source = DemoSource(1.0)
    picture = source.frame(0)
    source.close()
    assert picture is not None
    (marks,) = find_marks([Clip("demo", (jpeg(picture),) * 2)], face_detector, tmp_path)
    right_eye, left_eye, nose, *mouth = marks[0]
    assert right_eye[0] < nose[0] < left_eye[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(mouth[0][1], mouth[1][1])


def test_another_file_is_no_detector(tmp_path: Path) -> None:
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"junk")
    for file in (junk, tmp_path / "none.onnx"):
        with pytest.raises(RequestError, match="face detector"):
            find_marks([grey(1, 2)], file, tmp_path)
