import io
from itertools import combinations, islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.landmarks import points as mesh
from models.training.data.changes import bend, bent, bent_landmarks, moved, similarity, tint
from models.training.data.frames import Clip, load_stills
from models.training.data.pairs import ASIDE, GLANCES, Pairs
from shared.errors import RequestError
from shared.keypoints import Floats, Pictures
from tests.drawn_face import face


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
    """Return sources and their first driving frames, both (3, 256, 256)."""
    return [(a.numpy(), b.numpy()[0]) for a, b, _ in islice(pairs, count)]


def upright(picture: Pictures) -> Pictures:
    return np.moveaxis(picture, 0, 2)


@pytest.mark.parametrize("drivings", [1, 3])
def test_a_source_comes_with_its_driving_frames_and_their_landmarks(drivings: int) -> None:
    clips = [grey(10, 60, 110), grey(160, 210)]
    # Of two frames one is the source, and all driving frames are the other.
    for source, driving, landmarks in islice(Pairs(clips, seed=0, drivings=drivings), 8):
        assert source.shape == (3, 256, 256)
        assert driving.shape == (drivings, 3, 256, 256)
        assert source.dtype == driving.dtype == torch.uint8
        assert landmarks.shape == (1 + drivings, 175, 2)
        assert landmarks.dtype == torch.float32
        assert torch.isnan(landmarks).all()


def test_driving_frames_are_others_of_the_clip() -> None:
    for source, driving, _ in islice(Pairs([grey(20, 80, 140, 200)], seed=0, drivings=3), 6):
        levels = [float(picture.float().mean()) for picture in (source, *driving)]
        assert min(abs(one - other) for one, other in combinations(levels, 2)) > 20


def test_pairs_depend_on_seed_and_rank_alone() -> None:
    clips = [grey(10, 60, 110), grey(160, 210)]
    labels = [walk(3), walk(2)]

    def stream(seed: int, rank: int = 0) -> list[Floats]:
        pairs = Pairs(clips, seed, rank, drivings=2, landmarks=labels)
        return [tensor.float().numpy().ravel() for item in islice(pairs, 4) for tensor in item]

    first = np.concatenate(stream(3))
    np.testing.assert_array_equal(first, np.concatenate(stream(3)))
    assert not np.array_equal(first, np.concatenate(stream(4)))
    assert not np.array_equal(first, np.concatenate(stream(3, rank=1)))


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
    shifts = [np.hypot(*centre(bent(disc(0, 0), bend(256, rng)))) for _ in range(20)]
    assert 0.01 < np.mean(shifts) < 0.15


def test_landmarks_are_bent_with_their_pictures() -> None:
    rng = np.random.default_rng(3)
    for _ in range(10):
        x, y = rng.uniform(-0.5, 0.5, 2)
        shift = bend(256, rng)
        found = bent_landmarks(np.array([[[x, y], [np.nan, np.nan]]], np.float32), shift)
        # A small disc is bent itself, by a little.
        np.testing.assert_allclose(found[0, 0], centre(bent(disc(x, y, 0.04), shift)), atol=0.01)
        assert np.isnan(found[0, 1]).all()


def test_now_and_then_a_pair_loses_its_colour() -> None:
    rng = np.random.default_rng(0)
    red = np.full((4, 4, 3), (200, 60, 60), np.uint8)
    spread = [int(np.ptp(tint([red, red], rng)[0][0, 0].astype(int))) for _ in range(200)]
    assert 2 < sum(s < 60 for s in spread) < 50


def walk(count: int) -> Floats:
    """Return landmarks (count, 175, 2) of a face that speaks, blinks and looks around."""
    return np.stack([face(0.03 * n, 0.3 - 0.05 * n, 0.4 + 0.05 * n) for n in range(count)])


def test_landmarks_go_with_their_pictures_and_left_stays_left() -> None:
    # A disc on the right eye, wide and near the border: what moves the picture moves the face.
    wide = np.add(2 * face(gaze=0.5), (0, -0.1)).astype(np.float32)
    right = tuple(wide[mesh.RIGHT_PUPIL])
    clip = Clip("disc", (jpeg(disc(*right)),) * 3)
    shown = []
    for source, driving, landmarks in islice(
        Pairs([clip], seed=1, drivings=2, landmarks=[np.stack([wide] * 3)]), 16
    ):
        for picture, found in zip((source, *driving), landmarks.numpy(), strict=True):
            # A mirrored picture shows the disc on what is then the left eye.
            place = np.array(centre(upright(picture.numpy())))
            eyes = found[[mesh.RIGHT_PUPIL, mesh.LEFT_PUPIL]]
            assert eyes[0, 0] < eyes[1, 0]
            eye = int(np.hypot(*(eyes - place).T).argmin())
            np.testing.assert_allclose(eyes[eye], place, atol=0.03 + 0.4 * ASIDE)
            shown.append(eye)
            # The rest of the face is where it is in a face: no other point was exchanged, or moved alone.
            lips, lids, gaze = mesh.openings(found)
            assert (lips, lids) == pytest.approx(tuple(mesh.openings(face())[:2]), abs=0.12)
            assert abs(gaze - 0.5) < ASIDE + 0.1
    assert {*shown} == {0, 1}


def test_frames_without_a_face_between_others_are_not_drawn() -> None:
    labels = walk(6)
    labels[[1, 3, 4]] = np.nan
    for _, _, landmarks in islice(Pairs([grey(*[60] * 6)], seed=0, drivings=2, landmarks=[labels]), 20):
        assert torch.isfinite(landmarks).all()
    # Of a clip with hardly a face, all frames are as good as any.
    labels[0] = labels[2] = np.nan
    drawn = [known for _, _, known in islice(Pairs([grey(*[60] * 6)], seed=0, landmarks=[labels]), 20)]
    assert any(torch.isnan(known).all() for known in drawn)


def share_of_seventh(landmarks: Floats | None) -> float:
    """Return how often frame 7 of a clip of 30 is the driving one."""
    pairs = Pairs([grey(*[60] * 30)], 0, landmarks=None if landmarks is None else [landmarks])
    rng = np.random.default_rng(0)
    return float(np.mean([pairs._frames(0, rng)[1] == 7 for _ in range(4000)]))


@pytest.mark.parametrize("what", ["lips", "lids", "gaze", "turn"])
def test_a_frame_that_differs_from_the_others_in_one_thing_is_preferred(what: str) -> None:
    # Noise, for no two frames are quite alike.
    clip = (np.stack([face()] * 30) + np.random.default_rng(0).normal(0, 1e-4, (30, 175, 2))).astype(
        np.float32
    )
    clip[7] = {"lips": face(lips=0.2), "lids": face(lids=0.0), "gaze": face(gaze=0.9), "turn": face()}[what]
    if what == "turn":
        clip[7, mesh.NOSE_TIP, 0] += 0.1
    # Where nothing is known each of the others is as likely; else it is whenever its kind is asked for.
    assert share_of_seventh(None) == pytest.approx(1 / 30, abs=0.01)
    expected = (29 / 30) * (0.5 * 0.25 * 6 / 29 + 0.875 / 29)
    assert share_of_seventh(clip) == pytest.approx(expected, abs=0.012)


@pytest.mark.slow
def test_eyes_look_elsewhere_in_all_portraits_and_half_of_the_pairs() -> None:
    for share, expected in ((0.0, GLANCES), (1.0, 1.0)):
        pairs = Pairs(
            [grey(60, 60, 60)], 0, drivings=2, stills=[jpeg(disc(0, 0))], still_share=share,
            landmarks=[np.stack([face()] * 3)], still_landmarks=face()[None],
        )  # fmt: skip
        gaze = np.array([mesh.openings(landmarks.numpy())[:, 2] for _, _, landmarks in islice(pairs, 100)])
        looking = np.ptp(gaze, axis=1) > 1e-2
        assert looking.mean() == pytest.approx(expected, abs=0.1)
        # Each of the pictures by itself, both ways, as far as it is meant.
        assert np.abs(np.corrcoef(gaze[looking].T)[0, 1:]).max() < 0.3
        assert gaze.min() == pytest.approx(0.5 - ASIDE, abs=0.05)
        assert gaze.max() == pytest.approx(0.5 + ASIDE, abs=0.05)


def test_portraits_with_landmarks_are_moved_not_bent_apart() -> None:
    still = jpeg(disc(-0.2, -0.2))
    pairs = Pairs(
        [grey(60, 60)], 0, drivings=2, stills=[still], still_share=1.0, landmarks=[walk(2)],
        still_landmarks=face()[None],
    )  # fmt: skip
    apart = 0
    for source, driving, landmarks in islice(pairs, 8):
        for picture, found in zip((source, *driving), landmarks.numpy(), strict=True):
            place = np.array(centre(upright(picture.numpy())))
            eyes = found[[mesh.RIGHT_PUPIL, mesh.LEFT_PUPIL]]
            # The disc is as wide as the eye; where it looks elsewhere, less of it goes with the iris.
            assert np.hypot(*(eyes - place).T).min() < 0.03 + 0.2 * ASIDE
        apart += not np.allclose(landmarks[0], landmarks[1])
    assert apart == 8


def test_broken_stills_are_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RequestError, match="no JPEG"):
        load_stills(tmp_path)
    (tmp_path / "a.jpg").write_bytes(jpeg(disc(0, 0)))
    (tmp_path / "b.jpg").write_bytes(jpeg(disc(0, 0))[:300])
    assert len(load_stills(tmp_path)) == 1
    assert "b.jpg" in caplog.text
