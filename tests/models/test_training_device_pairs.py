"""Pairs drawn on the device are those drawn on the host: one distribution, whichever of the two draws."""

from __future__ import annotations

import io
from itertools import islice

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from scipy import stats
from torch import Tensor

from models.landmarks import points as mesh
from models.landmarks.glance import looking
from models.training.data import changes as host
from models.training.data.device_pairs import DevicePairs, bent, bent_landmarks, moved
from models.training.data.frames import Clip
from models.training.data.pairs import ALONE, ASIDE, TOGETHER, Pairs
from shared.keypoints import Floats, Pictures
from tests.drawn_face import face
from tests.gpu_stand_in import waits

pytestmark = pytest.mark.slow

Numbers = npt.NDArray[np.floating]
CPU = torch.device("cpu")
# Where both sides draw from one distribution, each comparison is below this once in so many seeds.
UNLIKELY = 1e-3
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


def jpeg(picture: Pictures) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=95)
    return out.getvalue()


def clip(count: int, person: str = "") -> Clip:
    """A clip whose frames are grey, each at a level of its own."""
    levels = (40 + 5 * n for n in range(count))
    return Clip("grey", [jpeg(np.full((256, 256, 3), level, np.uint8)) for level in levels], person)


def walk(count: int, seed: int = 0) -> Floats:
    """Landmarks of a face whose lips, lids, gaze and turn wander."""
    random = np.random.default_rng(seed)
    faces = [face(*(np.abs(random.normal((0.03, 0.3, 0.5), 0.05)))) for _ in range(count)]
    return np.stack(faces).astype(np.float32)


def textured(seed: int) -> Pictures:
    coarse = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((256, 256), Image.Resampling.BICUBIC))


def tensor(picture: Pictures) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]


def array(pictures: Tensor) -> Pictures:
    return pictures[0].permute(1, 2, 0).numpy()


def alike(ours: Numbers, theirs: Numbers) -> bool:
    """Whether two samples are of one continuous distribution."""
    return bool(stats.ks_2samp(ours, theirs).pvalue > UNLIKELY)


@pytest.mark.parametrize("drivings", [1, 2])
def test_batches_are_as_a_loader_makes_them(drivings: int) -> None:
    pairs = Pairs([clip(3), clip(2)], 0, drivings=drivings)
    for source, driving, landmarks in islice(DevicePairs(pairs, 5, CPU), 3):
        assert source.shape == (5, 3, 256, 256)
        assert driving.shape == (5, drivings, 3, 256, 256)
        assert source.dtype == driving.dtype == torch.uint8
        assert landmarks.shape == (5, 1 + drivings, 175, 2)
        assert torch.isnan(landmarks).all()


def test_the_stream_depends_on_seed_and_rank_alone() -> None:
    clips, labels = [clip(4), clip(3)], [walk(4), walk(3)]

    def stream(seed: int, rank: int = 0) -> Tensor:
        drawn = DevicePairs(Pairs(clips, seed, rank, landmarks=labels), 2, CPU)
        return torch.cat([part.float().flatten() for part in drawn.draw()])

    torch.testing.assert_close(stream(3), stream(3), rtol=0, atol=0)
    assert not torch.equal(stream(3), stream(4))
    assert not torch.equal(stream(3), stream(3, rank=1))


@pytest.mark.parametrize("known", [False, True])
def test_the_same_frames_go_together_as_often(known: bool) -> None:
    clips = [clip(12, "a"), clip(4, "a"), clip(3, "b")]
    labels = [walk(12), walk(4), walk(3)]
    labels[0][[2, 5]] = np.nan
    pairs = Pairs(clips, 0, drivings=2, landmarks=labels if known else None)
    rng, count, starts = np.random.default_rng(0), 6000, (0, 12, 16)
    theirs = []
    for _ in range(count):
        index = int(rng.choice(3, p=pairs.weights))
        theirs.append(np.add(pairs._frames(index, rng), starts[index]))
    ours = torch.cat([DevicePairs(pairs, count // 2, CPU).chosen() for pairs in (pairs, other(pairs))])
    for first, second in ((0, 1), (0, 2), (1, 2)):
        table = np.zeros((2, 19 * 19), np.int64)
        for side, rows in enumerate((ours.numpy(), np.array(theirs))):
            np.add.at(table[side], rows[:, first] * 19 + rows[:, second], 1)
        table = table[:, table.sum(0) > 0]
        assert stats.chi2_contingency(table).pvalue > UNLIKELY
    if known:
        assert not np.isin(ours.numpy(), (2, 5)).any()


def other(pairs: Pairs) -> Pairs:
    return Pairs(pairs.clips, pairs.seed + 1, drivings=pairs.drivings, landmarks=pairs.landmarks)


def similarities(before: Floats, after: Floats) -> Floats:
    """Return (N, 5) of what carried each face: log of the scale, turn, shift, and -1 where it is mirrored."""
    found = []
    for one, there in zip(before, after, strict=True):
        design = np.column_stack([one, np.ones(len(one))])
        for mirrored in (False, True):
            where = there[mesh.MIRROR] if mirrored else there
            solved, left, *_ = np.linalg.lstsq(design, where, rcond=None)
            if left.sum() < 1e-6:
                a = solved[:2].T * ([[-1], [1]] if mirrored else [[1], [1]])
                shift = solved[2] * ([-1, 1] if mirrored else [1, 1])
                scale, turn = 0.5 * np.log(np.linalg.det(a)), np.arctan2(a[1, 0], a[0, 0])
                found.append((scale, turn, *shift, -1 if mirrored else 1))
    assert len(found) == len(before)
    return np.array(found)


@pytest.mark.parametrize("apart", [False, True])
def test_pictures_are_moved_mirrored_and_parted_alike(apart: bool) -> None:
    count = 1200
    pairs = Pairs([clip(2)], 0, landmarks=[walk(2)])
    # No symmetric one, or nobody could say whether it is mirrored.
    still = np.stack([face(gaze=0.8)] * 2).astype(np.float32)
    rng, tiny = np.random.default_rng(5), [np.zeros((4, 4, 3), np.uint8)] * 2
    theirs = np.stack([pairs._finish(tiny, still, rng, apart=apart)[2].numpy() for _ in range(count)])
    drawn = DevicePairs(pairs, count, CPU)
    moves = drawn.moves(torch.full((count,), apart))
    ours = drawn._carried(torch.from_numpy(still).expand(count, 2, -1, -1), moves).numpy()
    for side in (0, 1):
        one, two = (similarities(np.stack([still[0]] * count), found[:, side]) for found in (ours, theirs))
        for column in range(4):
            assert alike(one[:, column], two[:, column]), (side, column)
        assert np.mean(one[:, 4] < 0) == pytest.approx(0.5, abs=0.05)
        assert np.mean(two[:, 4] < 0) == pytest.approx(0.5, abs=0.05)
        # Half of the sources are not moved at all, and hardly fewer of the driving frames.
        rest = [np.mean(np.abs(found[:, :4]).max(1) < 1e-4) for found in (one, two)]
        assert rest[0] == pytest.approx(rest[1], abs=0.06)
    together = [
        np.mean(np.abs(found[:, 0] - found[:, 1]).max((1, 2)) < 1e-5) for found in (ours, theirs)
    ]  # fmt: skip
    assert together == pytest.approx([0, 0] if apart else [0.88, 0.88], abs=0.04)


def test_colours_are_changed_alike() -> None:
    count = 3000
    picture = np.array([[[200, 90, 60]]], np.uint8)
    rng = np.random.default_rng(1)
    theirs = np.stack([host.tint([picture, picture], rng)[1][0, 0] for _ in range(count)]).astype(float)
    pictures = tensor(picture).expand(count, 2, 3, 1, 1)
    tinted = DevicePairs(Pairs([clip(2)], 0), count, CPU).tinted(pictures)
    assert torch.equal(tinted[:, 0], tinted[:, 1])
    ours = tinted[:, 1, :, 0, 0].numpy().astype(float)
    for colour in range(3):
        # Noise, for levels are whole.
        one, two = (found[:, colour] + rng.uniform(0, 1, count) for found in (ours, theirs))
        assert alike(one, two)
    grey = [np.mean(np.ptp(found, axis=1) < 45) for found in (ours, theirs)]
    assert grey == pytest.approx([host.GREY] * 2, abs=0.02)


@pytest.mark.parametrize("seed", range(4))
def test_a_move_moves_pixels_as_on_the_host(seed: int) -> None:
    picture, rng = textured(seed), np.random.default_rng(seed)
    for move in (
        host.similarity(rng, *ALONE), host.similarity(rng, *TOGETHER) * [[-1], [1]], np.eye(2, 3),
        np.eye(2, 3) * [[-1], [1]],
    ):  # fmt: skip
        expected = host.moved(picture, move).astype(int)
        found = array(moved(tensor(picture), torch.from_numpy(move).float()[None])).astype(int)
        # There places are rounded to a thirtieth of a pixel.
        assert np.abs(found - expected).mean() < 0.5
        assert np.quantile(np.abs(found - expected), 0.999) <= 6


def test_a_portrait_is_bent_as_on_the_host() -> None:
    picture, rng = textured(0), np.random.default_rng(2)
    shift = host.bend(256, np.random.default_rng(2))
    expected = host.bent(picture, shift).astype(int)
    coarse = torch.from_numpy(rng.normal(0, host.BEND, (5, 5, 2)).astype(np.float32)).permute(2, 0, 1)
    found = array(bent(tensor(picture), 2 * coarse[None])).astype(int)
    assert np.abs(found - expected).mean() < 0.5
    assert np.abs(picture.astype(int) - expected).mean() > 3
    one = face()[None].astype(np.float32)
    theirs, ours = (
        host.bent_landmarks(one, shift),
        bent_landmarks(torch.from_numpy(one), 2 * coarse[None], 256),
    )
    np.testing.assert_allclose(ours, theirs, atol=2e-3)
    assert np.abs(theirs - one).mean() > 0.01


def test_eyes_look_elsewhere_as_on_the_host() -> None:
    known, count = face(lids=0.4)[None].astype(np.float32), 400
    pairs = Pairs([clip(2)], 0, landmarks=[walk(2)])
    rng = np.random.default_rng(0)
    theirs = np.stack(
        [
            looking([textured(0)] * 2, np.concatenate([known] * 2), aside)[1]
            for aside in rng.uniform(-ASIDE, ASIDE, (count, 2)).astype(np.float32)
        ]
    )
    drawn = DevicePairs(pairs, count, CPU)
    tiny = torch.zeros(count, 2, 3, 8, 8, dtype=torch.uint8)
    every = torch.ones(count, dtype=torch.bool)
    ours = drawn.looking(tiny, torch.from_numpy(known).expand(count, 2, -1, -1), every)[1].numpy()
    for side in (0, 1):
        assert alike(mesh.openings(ours[:, side])[:, 2], mesh.openings(theirs[:, side])[:, 2])


def test_eyes_alone_change_where_they_look_elsewhere() -> None:
    known = face(lids=0.4).astype(np.float32)
    faces = torch.from_numpy(known).expand(3, 2, -1, -1)
    picture = tensor(textured(1)).expand(3, 2, 3, 256, 256)
    drawn = DevicePairs(Pairs([clip(2)], 0, landmarks=[walk(2)]), 3, CPU)
    changed, _ = drawn.looking(picture, faces, torch.ones(3, dtype=torch.bool))
    # Within the eyes alone, and there by much.
    off = (changed.int() - picture.int()).abs().amax((0, 1, 2)).numpy()
    eyes = ((known[mesh.EYES] + 1) * 128).round().astype(int)
    (left, top), (right, bottom) = eyes.min(0) - 2, eyes.max(0) + 2
    assert off[top:bottom, left:right].max() > 30
    off[top:bottom, left:right] = 0
    assert off.max() <= 1


@pytest.mark.parametrize("known", [False, True])
def test_portraits_come_as_often_bent_or_moved(known: bool) -> None:
    black, still = Clip("black", [jpeg(np.zeros((256, 256, 3), np.uint8))] * 2), jpeg(textured(3))
    pairs = Pairs(
        [black], 0, drivings=2, stills=[still], still_share=0.4, landmarks=[walk(2)],
        still_landmarks=face()[None].astype(np.float32) if known else None,
    )  # fmt: skip
    drawn = DevicePairs(pairs, 8, CPU)
    portraits = 0
    for source, driving, landmarks in islice(drawn, 5):
        is_still = source.float().std((1, 2, 3)) > 25
        portraits += int(is_still.sum())
        assert torch.isfinite(landmarks[~is_still]).all()
        assert bool(torch.isfinite(landmarks[is_still]).all()) is known
        for one, others in zip(source[is_still], driving[is_still], strict=True):
            assert all((one.float() - picture.float()).abs().mean() > 1 for picture in others)
    assert 0.2 < portraits / 40 < 0.6


def test_landmarks_stay_on_what_they_are_of() -> None:
    axis = (np.arange(256) * 2 + 1) / 256 - 1
    wide = np.add(2 * face(gaze=0.5), (0, -0.1)).astype(np.float32)
    x, y = wide[mesh.RIGHT_PUPIL]
    disc = ((axis[None] - x) ** 2 + (axis[:, None] - y) ** 2 < 0.01)[..., None]
    frames = [jpeg(np.repeat(255 * disc, 3, axis=2).astype(np.uint8))] * 3
    pairs = Pairs([Clip("disc", frames)], 1, drivings=2, landmarks=[np.stack([wide] * 3)])
    source, driving, landmarks = DevicePairs(pairs, 12, CPU).draw()
    shown = set()
    for pictures, faces in zip(torch.cat([source[:, None], driving], 1), landmarks, strict=True):
        for picture, found in zip(pictures[:, 0].numpy(), faces.numpy(), strict=True):
            light = (picture > (int(picture.min()) + int(picture.max())) / 2).astype(float)
            place = [(light * axis).sum() / light.sum(), (light * axis[:, None]).sum() / light.sum()]
            eyes = found[[mesh.RIGHT_PUPIL, mesh.LEFT_PUPIL]]
            assert eyes[0, 0] < eyes[1, 0]
            eye = int(np.hypot(*(eyes - place).T).argmin())
            np.testing.assert_allclose(eyes[eye], place, atol=0.03 + 0.4 * ASIDE)
            shown.add(eye)
    assert shown == {0, 1}


def test_drawing_waits_for_nothing() -> None:
    pairs = Pairs([clip(3)], 0, drivings=2, landmarks=[walk(3)], stills=[jpeg(textured(0))])
    drawn = DevicePairs(pairs, 2, CPU)
    with waits("cpu") as seen:
        drawn.draw()
    assert not seen


@gpu
def test_a_gpu_draws_what_a_cpu_draws() -> None:
    pairs = Pairs([clip(5), clip(3)], 0, drivings=2, landmarks=[walk(5), walk(3)], stills=[jpeg(textured(0))])
    device = torch.device("cuda")
    drawn = DevicePairs(pairs, 4, device)
    torch.cuda.set_sync_debug_mode("error")
    try:
        source, driving, landmarks = drawn.draw()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert {part.device.type for part in (source, driving, landmarks)} == {"cuda"}
    rows = torch.cat([drawn.chosen() for _ in range(400)]).cpu().numpy()
    here = torch.cat([DevicePairs(pairs, 1600, CPU).chosen()]).numpy()
    assert (
        stats.chi2_contingency([np.bincount(found[:, 0], minlength=8) for found in (rows, here)]).pvalue
        > UNLIKELY
    )
