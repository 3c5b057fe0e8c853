"""`python -m models.training codec`: what an error of each keypoint does to the picture, and tables for it.

First the sensitivity: around frames of real clips every keypoint number is moved a little both ways and the
picture rendered; H = E[J^T J] / pixels is the mean squared error of the picture per squared error of the
keypoints. Then the quantizer: in coordinates z = U^T L^T (x - mean) with L L^T = H (made a little stiffer,
so that numbers the picture hardly depends on stay sane for the forecasters), the picture's error is the plain
error of z, and U turns the changes from frame to frame into uncorrelated ones (the Karhunen-Loeve transform),
where plain scalar quantisation with one step is nearly optimal (Goyal, IEEE Signal Processing Magazine 2001).
Last the probability tables, counted on blocks of the tracks: tables and who uses which are fitted in turn,
as in k-means.
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
from shared.codec.tables import LEVELS, SCALES_A_LEVEL, SCALES_A_QUALITY, TILT_BITS, CodecTables
from shared.codec.temporal import SLOPE_BITS, coefficients, slopes
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
# Frames of a message, as the presets have them.
_BLOCKS = (3, 6)
_ROUNDS = 4
_FRAMES = 30_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add = parser.add_argument
    add(
        "--clips",
        nargs="+",
        type=Path,
        required=True,
        help="folders of clips to render, to measure the sensitivity on",
    )
    add("--tracks", type=Path, required=True, help="folder of keypoint tracks of the same backbone")
    add("--frames", type=int, default=120, help="frames to measure the sensitivity at (default 120)")
    add(
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="file for the tables, such as codec.safetensors",
    )
    add("--afresh", action="store_true", help="measure the sensitivity again, even if the output has it")
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
            f"The tracks in {options.tracks} are for another detector ({tracks.tracks_of}); make them again."
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
    try:
        tables = CodecTables.load(path)
    except RequestError:
        # None yet, or of another version: they are about to be written.
        return None
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
            pictures = [picture for _, picture in timed_pictures(clip, backbone.size)]
        except CLIP_ERRORS:
            continue
        driving = backbone.detect(pictures[generator.integers(len(pictures))][None])[0]
        moved = np.concatenate([driving + np.diag(moves), driving - np.diag(moves)])
        drawn = backbone.render(backbone.encode(pictures[0]), moved).reshape(2, len(moves), -1)
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
    quantizer = make_quantizer(tracks, matrix)
    samples = list(_samples(tracks, quantizer, seed))
    return _fit_tables(samples, quantizer, matrix, tracks.tracks_of)


def make_quantizer(tracks: Tracks, matrix: Doubles) -> TransformQuantizer:
    """Return the quantizer of step BASE_STEP in the picture's own coordinates."""
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
    """Contents of blocks of one quality and length.

    `numbers` (N, length, D) are their coefficients over time, `changes` (N, length - 1, D) what copies of
    them would be told by.
    """

    quality: int
    numbers: Whole
    changes: Whole

    @property
    def first(self) -> Whole:
        """The blocks' means (N, D)."""
        return self.numbers[:, 0]

    @property
    def further(self) -> Whole:
        """Their other coefficients (N, length - 1, D)."""
        return self.numbers[:, 1:]

    @property
    def slopes(self) -> Whole:
        """How large each coefficient of a random walk usually is, in scales times 2**SLOPE_BITS (length,)."""
        return SCALES_A_LEVEL * slopes(self.numbers.shape[1])


def _samples(tracks: Tracks, quantizer: TransformQuantizer, seed: int) -> Iterator[_Sample]:
    generator = np.random.default_rng(seed)
    for length in _BLOCKS:
        blocks = [
            clip.frames[at : at + length]
            for clip in tracks.clips
            for at in range(0, len(clip.frames) - length, length)
        ]
        for quality in _QUALITIES:
            chosen = generator.permutation(len(blocks))[: _FRAMES // length]
            exact = [quantizer.coordinates(blocks[at], quality) for at in chosen]
            changes = [np.diff(track(block, None), axis=0) for block in exact]
            numbers = np.rint(np.stack([*map(coefficients, exact)])).astype(np.int64)
            yield _Sample(quality, numbers, np.stack(changes))


def _fit_tables(
    samples: Sequence[_Sample], quantizer: TransformQuantizer, matrix: Doubles, tracks_of: str
) -> CodecTables:
    first, course, tilt, change = _starting_scales(samples)
    cdfs, likely = _laplace(), np.full((LEVELS + 1, LEVELS), 1 / LEVELS)
    for _ in range(_ROUNDS):
        counts, seen = np.zeros(cdfs.counts.shape), np.ones((LEVELS + 1, LEVELS))
        first = first + _better([(s.first, _first_scales(first, s)) for s in samples], cdfs)
        courses = []
        for s in samples:
            scales = _course_scales(course, tilt, s)
            levels = _cheapest(s.further.reshape(len(s.numbers), -1), scales.reshape(-1), cdfs, likely[-1])
            courses.append((s.further, scales + SCALES_A_LEVEL * levels[:, None, None]))
            seen[LEVELS] += np.bincount(levels, minlength=LEVELS)
        course = course + _better(courses, cdfs)
        changes = []
        for s in samples:
            flat = s.changes.reshape(-1, quantizer.dimensions)
            levels = _cheapest(flat, change - SCALES_A_QUALITY * s.quality, cdfs, likely.mean(0))
            changes.append((flat, _change_scales(change, s.quality, levels)))
            inside = np.arange(len(levels)) % s.changes.shape[1] > 0
            np.add.at(seen, (np.roll(levels, 1)[inside], levels[inside]), 1)
        change = change + _better(changes, cdfs)
        for s, (numbers, scales) in zip(samples, courses, strict=True):
            _tally(counts, cdfs, s.first, _first_scales(first, s))
            _tally(counts, cdfs, numbers, scales)
        likely = seen / seen.sum(1, keepdims=True)
        # The smooth shape of a scale stands in where little was counted.
        cdfs = CdfTables(_whole(counts + 200 * _laplace().counts / MASS))
    first_, course_, tilt_, change_ = (scales.astype(np.int16) for scales in (first, course, tilt, change))
    return CodecTables(
        quantizer, cdfs, first_, course_, tilt_, change_, _whole(likely), matrix.astype(np.float32), tracks_of
    )


def _starting_scales(samples: Sequence[_Sample]) -> tuple[Whole, Whole, Whole, Whole]:
    """Return scales (D,) of means, of further coefficients, their tilt, and of changes, by their spread."""
    at_0 = [SCALES_A_QUALITY * s.quality for s in samples]
    first = [
        _scale(s.first) + zero - s.slopes[0] / 2**SLOPE_BITS for s, zero in zip(samples, at_0, strict=True)
    ]
    change = [
        _scale(s.changes.reshape(-1, s.changes.shape[-1])) + z for s, z in zip(samples, at_0, strict=True)
    ]
    rows = [
        (s.slopes[at] / 2**SLOPE_BITS, _scale(s.numbers[:, at]) + zero)
        for s, zero in zip(samples, at_0, strict=True)
        for at in range(1, s.numbers.shape[1])
    ]
    design = np.array([(1.0, slope) for slope, _ in rows])
    course, tilt = np.linalg.lstsq(design, np.stack([scale for _, scale in rows]), rcond=None)[0]
    # On the usual level numbers are about as large as over all: the middle one.
    middle = SCALES_A_LEVEL * (LEVELS // 2)
    found = (np.mean(first, 0), course - middle, tilt * 2**TILT_BITS, np.mean(change, 0) - middle)
    first_, course_, tilt_, change_ = (np.rint(scales).astype(np.int64) for scales in found)
    return first_, course_, tilt_, change_


def _first_scales(first: Whole, sample: _Sample) -> Whole:
    return np.asarray(first + (sample.slopes[0] >> SLOPE_BITS) - SCALES_A_QUALITY * sample.quality)


def _course_scales(course: Whole, tilt: Whole, sample: _Sample) -> Whole:
    """Return the scales (length - 1, D) of further coefficients at level 0, as `CodecTables` counts them."""
    slope = tilt * sample.slopes[1:, None] >> (SLOPE_BITS + TILT_BITS)
    return np.asarray(course + slope - SCALES_A_QUALITY * sample.quality)


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


def _cheapest(numbers: Whole, scales: Whole, cdfs: CdfTables, likely: Doubles) -> Whole:
    """Return the level (N,) at which numbers (N, M), of `scales` (M,) at level 0, take the fewest bits."""
    costs = [cdfs.cost(numbers, scales + SCALES_A_LEVEL * level).sum(1) for level in range(LEVELS)]
    return np.asarray((np.stack(costs, axis=1) - np.log2(likely)).argmin(1))


def _better(coded: Sequence[tuple[Whole, Whole]], cdfs: CdfTables) -> Whole:
    """Return how each number's scale (D,) had better be moved: -1, 0 or 1; `coded` under what scales."""
    costs = []
    for move in (-1, 0, 1):
        taken = [cdfs.cost(numbers, scales + move) for numbers, scales in coded]
        costs.append(sum(cost.reshape(-1, cost.shape[-1]).sum(0) for cost in taken))
    return np.asarray(np.argmin(np.stack(costs), axis=0) - 1)


def _tally(counts: Doubles, cdfs: CdfTables, numbers: Whole, scales: Whole) -> None:
    rows = np.clip(np.broadcast_to(scales, numbers.shape), 0, cdfs.scales - 1)
    np.add.at(counts, (rows, cdfs.symbols(numbers)), 1)
