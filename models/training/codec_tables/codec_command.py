"""`python -m models.training codec`: what an error of each keypoint does to the picture, and tables for it.

First the sensitivity: around frames of real clips every keypoint number is moved a little both ways and the
picture rendered; H = E[J^T J] / pixels is the mean squared error of the picture per squared error of the
keypoints. Then the lattice: in the coordinates z = U^T L^T (x - mean) with L L^T = H (made a little stiffer,
so that numbers the picture hardly depends on stay sane for the forecasters), the picture's error is the plain
error of z, and U turns the changes from frame to frame into uncorrelated ones (the Karhunen-Loeve transform),
where plain scalar quantisation with one step is nearly optimal (Goyal, IEEE Signal Processing Magazine 2001).
Last the probability tables, counted on the tracks: tables and who uses which are fitted in turn, as in
k-means.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from models.build import load_backbone, use_threads
from models.clips.layouts import find_clips
from models.clips.video import CLIP_ERRORS, timed_pictures
from models.lite.named import looked_at
from models.training.data.tracks import Tracks, load_tracks
from shared.codec.entropy import MASS, CdfTables, Whole
from shared.codec.quantization import MATRIX_BITS, TransformQuantizer, track
from shared.codec.tables import LEVELS, SCALES_A_LEVEL, SCALES_A_QUALITY, CodecTables
from shared.errors import RequestError
from shared.interfaces import Backbone
from shared.runtime.command import add_network_arguments

Doubles = npt.NDArray[np.float64]

BASE_STEP = 2.0**-10
# Of the variance of a keypoint number: what an error of it counts even where no picture shows it.
_STIFFNESS = 5e-5
_SCALES = 48
_WIDTH = 47
# The spread of the numbers that the table of scale 0 is for, in steps.
_SMALLEST = 0.05
_QUALITIES = (2, 4, 6, 8, 10)
_BLOCK = 6
_ROUNDS = 4
_FRAMES = 30_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add = parser.add_argument
    add(
        "--clips", nargs="+", type=Path, required=True, help="folders of clips to render, for the sensitivity"
    )
    add("--tracks", type=Path, required=True, help="folder of keypoint tracks of the same backbone")
    add("--frames", type=int, default=120, help="frames to render the sensitivity around (default 120)")
    add("--output", type=Path, required=True, metavar="FILE", help="such as codec.safetensors")
    add("--afresh", action="store_true", help="measure the sensitivity again, whatever the output holds")
    add("--seed", type=int, default=0)
    add("--threads", type=int, default=1)
    add_network_arguments(parser)


def train(options: argparse.Namespace) -> int:
    """Measure, fit, write. Where the output is there already, its sensitivity serves again."""
    use_threads(options.threads)
    backbone = load_backbone(options.backbone, options.checkpoint, options.device)
    tracks = load_tracks(options.tracks)
    if tracks.tracks_of != backbone.detector:
        raise RequestError(
            f"The tracks in {options.tracks} are of another detector ({tracks.tracks_of}); make them again."
        )
    matrix = None if options.afresh else _measured_before(options.output, backbone.detector)
    if matrix is None:
        clips = [clip for _, clip in find_clips(options.clips)]
        matrix = sensitivity(backbone, clips, options.frames, options.seed)
    tables = fit(tracks, matrix, options.seed)
    tables.save(options.output)
    print(f"wrote {options.output}: tables {tables.hash} for {tables.tracks_of}")
    return 0


def _measured_before(path: Path, detector: str) -> Doubles | None:
    if not path.exists():
        return None
    tables = CodecTables.load(path)
    return tables.sensitivity.astype(np.float64) if tables.tracks_of == detector else None


def sensitivity(backbone: Backbone, clips: Sequence[Path], frames: int, seed: int) -> Doubles:
    """Return H (D, D): the picture's mean squared error per squared error of the keypoints, by rendering.

    Of the lite network's frames, eyes and mouth count more, as in its training (see `models.lite.named`).
    Of `frames` clips, drawn at random, one frame each is rendered from the clip's first. RequestError where
    no clip can be read.
    """
    generator = np.random.default_rng(seed)
    moves = backbone.layout.step
    total, count = np.zeros((len(moves), len(moves))), 0
    order = [clips[index] for index in generator.permutation(np.resize(np.arange(len(clips)), frames))]
    for clip in tqdm(order, desc="sensitivity", unit="frame"):
        try:
            pictures = [picture for _, picture in timed_pictures(clip)]
        except CLIP_ERRORS:
            continue
        driving = backbone.detect(pictures[generator.integers(len(pictures))][None])[0]
        moved = np.concatenate([driving + np.diag(moves), driving - np.diag(moves)])
        drawn = (
            backbone.render(backbone.encode(pictures[0]), moved).reshape(2, len(moves), -1).astype(np.float32)
            / 255
        )
        slopes = (drawn[0].astype(np.float32) - drawn[1]) / 255 / (2 * moves[:, None])
        if backbone.name == "lite":
            counts = np.sqrt(looked_at(driving, backbone.size)).reshape(-1, 1).repeat(3, axis=1).reshape(-1)
            slopes *= counts
        total += slopes @ slopes.T / slopes.shape[1]
        count += 1
    if not count:
        raise RequestError("None of the clips could be read; give folders with intact videos.")
    return total / count


def fit(tracks: Tracks, matrix: Doubles, seed: int = 0) -> CodecTables:
    """Return tables for `tracks`, whose keypoints' errors count in the picture by `matrix` (D, D)."""
    lattice = make_lattice(tracks, matrix)
    samples = list(_samples(tracks, lattice, seed))
    return _fit_tables(samples, lattice, matrix, tracks.tracks_of)


def make_lattice(tracks: Tracks, matrix: Doubles) -> TransformQuantizer:
    """Return the lattice of step BASE_STEP in the picture's own coordinates."""
    frames = np.concatenate([clip.frames for clip in tracks.clips]).astype(np.float64)
    changes = np.concatenate([np.diff(clip.frames.astype(np.float64), axis=0) for clip in tracks.clips])
    stiff = matrix + np.diag(_STIFFNESS / frames.var(0))
    lower = np.linalg.cholesky(stiff)
    seen = changes @ lower
    _, turn = np.linalg.eigh(seen.T @ seen)
    back = np.linalg.inv(lower.T) @ turn * BASE_STEP
    whole = np.rint(back * 2.0**MATRIX_BITS).astype(np.int32)
    return TransformQuantizer(whole, np.rint(frames.mean(0) * 2.0**MATRIX_BITS).astype(np.int32))


@dataclass(frozen=True)
class _Sample:
    """Contents of blocks of one quality: first frames (N, D) and changes (M, D) in their order."""

    quality: int
    first: Whole
    changes: Whole


def _samples(tracks: Tracks, lattice: TransformQuantizer, seed: int) -> Iterator[_Sample]:
    generator = np.random.default_rng(seed)
    blocks = [
        clip.frames[at : at + _BLOCK]
        for clip in tracks.clips
        for at in range(0, len(clip.frames) - _BLOCK, _BLOCK)
    ]
    for quality in _QUALITIES:
        chosen = generator.permutation(len(blocks))[: _FRAMES // _BLOCK]
        indices = np.stack([track(lattice.coordinates(blocks[at], quality), None) for at in chosen])
        yield _Sample(quality, indices[:, 0], np.diff(indices, axis=1).reshape(-1, lattice.dimensions))


def _fit_tables(
    samples: Sequence[_Sample], lattice: TransformQuantizer, matrix: Doubles, tracks_of: str
) -> CodecTables:
    first = np.mean([_scale(s.first) + SCALES_A_QUALITY * s.quality for s in samples], axis=0)
    change = np.mean([_scale(s.changes) + SCALES_A_QUALITY * s.quality for s in samples], axis=0)
    # On the usual level numbers are about as large as over all: the middle one.
    change -= SCALES_A_LEVEL * (LEVELS // 2)
    first, change = np.rint(first).astype(np.int64), np.rint(change).astype(np.int64)
    family, likely = _laplace(), np.full((LEVELS + 1, LEVELS), 1 / LEVELS)
    for _ in range(_ROUNDS):
        counts = np.zeros(family.counts.shape)
        first = first + _better(samples, first, family, None)
        chosen = [_levels(s, change, family, likely) for s in samples]
        change = change + _better(samples, change, family, chosen)
        seen = np.ones((LEVELS + 1, LEVELS))
        for s, levels in zip(samples, chosen, strict=True):
            starts = np.arange(len(levels)) % (_BLOCK - 1) == 0
            np.add.at(seen, (np.where(starts, LEVELS, np.roll(levels, 1)), levels), 1)
            _tally(counts, family, s.first, first - SCALES_A_QUALITY * s.quality)
            _tally(counts, family, s.changes, _change_scales(change, s.quality, levels))
        likely = seen / seen.sum(1, keepdims=True)
        # The smooth shape of a scale stands in where little was counted.
        family = CdfTables(_whole(counts + 200 * _laplace().counts / MASS))
    return CodecTables(
        lattice, family, first.astype(np.int16), change.astype(np.int16), _whole(likely),
        matrix.astype(np.float32), tracks_of,
    )  # fmt: skip


def _scale(numbers: Whole) -> Doubles:
    """Return the scale (D,) of numbers (N, D) as spread out as these."""
    return np.asarray(SCALES_A_LEVEL * np.log2(np.maximum(numbers.std(0), 0.02) / _SMALLEST))


def _laplace() -> CdfTables:
    """Return tables of Laplace's distribution, a scale each."""
    values = np.arange(-_WIDTH, _WIDTH + 1).astype(np.float64)
    rows = []
    for scale in range(_SCALES):
        spread = _SMALLEST * 2 ** (scale / SCALES_A_LEVEL) / 2**0.5

        def below(x: Doubles, spread: float = spread) -> Doubles:
            return np.asarray(
                np.where(
                    x < 0,
                    0.5 * np.exp(np.minimum(x, 0) / spread),
                    1 - 0.5 * np.exp(-np.maximum(x, 0) / spread),
                )
            )

        inside = below(values + 0.5) - below(values - 0.5)
        rows.append([*inside, max(1 - inside.sum(), 0)])
    return CdfTables(_whole(np.array(rows)))


def _whole(weights: Doubles) -> npt.NDArray[np.uint16]:
    """Return counts of at least 1 in the ratio of `weights` (..., C), each row adding up to MASS."""
    free = MASS - weights.shape[1]
    shares = weights / weights.sum(1, keepdims=True) * free
    counts = np.floor(shares).astype(np.int64) + 1
    for row, share in zip(counts, shares, strict=True):
        left = MASS - row.sum()
        row[np.argsort(np.floor(share) - share, kind="stable")[:left]] += 1
    whole: npt.NDArray[np.uint16] = counts.astype(np.uint16)
    return whole


def _change_scales(change: Whole, quality: int, levels: Whole) -> Whole:
    return np.asarray(change[None] + SCALES_A_LEVEL * levels[:, None] - SCALES_A_QUALITY * quality)


def _levels(sample: _Sample, change: Whole, family: CdfTables, likely: Doubles) -> Whole:
    """Return the cheapest level of each change."""
    costs = np.stack(
        [
            family.cost(
                sample.changes, change[None] + SCALES_A_LEVEL * level - SCALES_A_QUALITY * sample.quality
            ).sum(1)
            for level in range(LEVELS)
        ],
        axis=1,
    )
    return np.asarray((costs - np.log2(likely.mean(0))).argmin(1))


def _better(
    samples: Sequence[_Sample], base: Whole, family: CdfTables, levels: Sequence[Whole] | None
) -> Whole:
    """Return how each number's scale (D,) had better be moved: -1, 0 or 1."""
    costs = []
    for move in (-1, 0, 1):
        total = np.zeros(len(base))
        for index, s in enumerate(samples):
            if levels is None:
                total += family.cost(s.first, (base + move - SCALES_A_QUALITY * s.quality)[None]).sum(0)
            else:
                total += family.cost(s.changes, _change_scales(base + move, s.quality, levels[index])).sum(0)
        costs.append(total)
    return np.asarray(np.argmin(costs, axis=0) - 1)


def _tally(counts: Doubles, family: CdfTables, numbers: Whole, scales: Whole) -> None:
    rows = np.clip(np.broadcast_to(scales, numbers.shape), 0, family.scales - 1)
    np.add.at(counts, (rows, family.symbols(numbers)), 1)
