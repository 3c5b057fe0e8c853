"""Endless random training pairs: which two pictures, and how they are changed on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from models.training.data import Clip, square
from models.training.faces import Marks, mirrored
from shared.keypoints import Floats, Pictures

# A similarity as (2, 3): what is at z goes to A z + b, in positions in [-1, 1].
Move: TypeAlias = npt.NDArray[np.floating]
# How often a pair is zoomed into and turned as a whole, and how often one side of it once more by itself.
_MOVED, _APART = 0.5, 0.12
_GREY = 0.08


class Pairs(IterableDataset[tuple[Tensor, Tensor, Tensor]]):
    """Endless random (source, driving, marks): pictures of one clip, (3, 256, 256) uint8, and their faces.

    People are drawn by the square root of their number of frames, so that neither one long recording nor many
    short ones of one person dominate. `stills` are JPEG files of single portraits: a share `still_share` of
    the pairs is one of them and a bent copy of it. `marks` has one array for each clip (see `find_marks`);
    those of the two pictures come with them as (2, 5, 2) float32, NaN where they are not known. Pairs are
    mirrored, tinted, zoomed and turned. The stream is a function of seed, rank and worker.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        seed: int,
        rank: int = 0,
        *,
        stills: Sequence[bytes] = (),
        still_share: float = 0.1,
        marks: Sequence[Marks] | None = None,
    ) -> None:
        super().__init__()
        self.clips, self.stills, self.marks = clips, stills, marks
        self.seed, self.rank = seed, rank
        self.still_share = still_share if stills else 0.0
        self.weights = _by_person(clips)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, self.rank, worker.id if worker else 0])
        while True:
            still = rng.random() < self.still_share
            pair, marks = self._still(rng) if still else self._moving(rng)
            yield self._finish(pair, marks, rng, apart=still)

    def _moving(self, rng: np.random.Generator) -> tuple[list[Pictures], Marks]:
        index = rng.choice(len(self.clips), p=self.weights)
        clip = self.clips[index]
        a, b = (int(i) for i in rng.choice(len(clip.frames), 2, replace=False))
        marks = self.marks[index][[a, b]] if self.marks is not None else _unknown()
        return [clip.picture(a), clip.picture(b)], marks

    def _still(self, rng: np.random.Generator) -> tuple[list[Pictures], Marks]:
        picture = square(self.stills[int(rng.integers(len(self.stills)))])
        return [picture, bent(picture, rng)], _unknown()

    def _finish(
        self, pair: list[Pictures], marks: Marks, rng: np.random.Generator, apart: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        pair = tint(pair, rng)
        common: Move = np.eye(2, 3)
        if rng.random() < _MOVED:
            common = similarity(rng, 0.15, (1.0, 1.35), 0.12)
        if rng.random() < 0.5:
            common = common * [[-1], [1]]
        moves: list[Move] = [common, common]
        if apart or rng.random() < _APART:
            own = similarity(rng, 0.25, (0.85, 1.2), 0.15)
            moves[1] = np.vstack([own, [0, 0, 1]])[:2] @ np.vstack([common, [0, 0, 1]])
        source, driving = (moved(picture, move) for picture, move in zip(pair, moves, strict=True))
        seen = np.stack([_carried(mark, move) for mark, move in zip(marks, moves, strict=True)])
        return _channels_first(source), _channels_first(driving), torch.from_numpy(seen)


def _unknown() -> Marks:
    return np.full((2, 5, 2), np.nan, np.float32)


def _carried(marks: Marks, move: Move) -> Marks:
    """Return the marks (5, 2) of a picture that was moved."""
    there = (marks @ move[:, :2].T + move[:, 2]).astype(np.float32)
    return mirrored(there) if np.linalg.det(move[:, :2]) < 0 else there


def _channels_first(picture: Pictures) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))


def _by_person(clips: Sequence[Clip]) -> Floats:
    """Return each clip's probability: a person's is as the square root of all their frames."""
    frames: Counter[str] = Counter()
    for clip in clips:
        frames[clip.person] += len(clip.frames)
    weights = np.array([len(clip.frames) / np.sqrt(frames[clip.person]) for clip in clips])
    return np.asarray(weights / weights.sum())


def similarity(rng: np.random.Generator, turn: float, zoom: tuple[float, float], shift: float) -> Move:
    """Return a random rotation (up to `turn` radians), zoom and shift as (2, 3), of positions in [-1, 1]."""
    angle, scale = rng.uniform(-turn, turn), np.exp(rng.uniform(*np.log(zoom)))
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    x, y = rng.uniform(-shift, shift, 2)
    return np.array([[cos, -sin, x], [sin, cos, y]])


def moved(picture: Pictures, move: Move) -> Pictures:
    """Move what is at z in [-1, 1]^2 of a square picture to A z + b; beyond the border it is reflected."""
    if np.array_equal(move, np.eye(2, 3)):
        return picture
    if np.array_equal(move, np.eye(2, 3) * [[-1], [1]]):
        return picture[:, ::-1]
    half = len(picture) / 2
    # Pixel p is at (p + 0.5) / half - 1.
    matrix = move[:, :2]
    offset = half * (move[:, 2] + 1 - matrix.sum(1)) + 0.5 * matrix.sum(1) - 0.5
    whole = np.column_stack([matrix, offset])
    size = picture.shape[1::-1]
    return np.asarray(
        cv2.warpAffine(picture, whole, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101),
        np.uint8,
    )


def bent(picture: Pictures, rng: np.random.Generator) -> Pictures:
    """Bend a square picture by a smooth random displacement of about 4 % of its size."""
    size = len(picture)
    coarse = rng.normal(0, 0.025 * size, (5, 5, 2)).astype(np.float32)
    shift = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    x, y = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
    bent = cv2.remap(
        picture, x + shift[..., 0], y + shift[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(bent, np.uint8)


def tint(pair: Sequence[Pictures], rng: np.random.Generator) -> list[Pictures]:
    """Change brightness and colour of all pictures of a pair alike; now and then, take the colour away."""
    gain = rng.uniform(0.8, 1.2) * rng.uniform(0.93, 1.07, 3)
    table = np.clip(np.arange(256)[:, None] * gain + rng.uniform(-20, 20), 0, 255).astype(np.uint8)
    if rng.random() < _GREY:
        pair = [np.repeat(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2) for p in pair]
    return [np.asarray(cv2.LUT(np.ascontiguousarray(p), table[None]), np.uint8) for p in pair]
