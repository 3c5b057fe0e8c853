"""The pairs of `models.training.data.pairs`, drawn where they are trained on: on a GPU, a batch at a time.

All frames are kept there as bytes, 0.2 MB each; neither decoding nor copying waits between two steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.landmarks.glance import glanced
from models.landmarks.points import COUNT as LANDMARKS
from models.landmarks.points import MIRROR
from models.lite.geometry import pixel_grid
from models.training.data.changes import BEND, GAIN, GREY, INVERSIONS, LIGHT, TINGE, Range
from models.training.data.frames import decode_jpeg, square
from models.training.data.pairs import (
    ALONE,
    APART,
    ASIDE,
    BENT,
    CANDIDATES,
    FAR,
    GLANCES,
    MOVED,
    TOGETHER,
    Pairs,
)
from shared.constants import SIZE

Batch: TypeAlias = tuple[Tensor, Tensor, Tensor]
_FRAME_BYTES = 3 * SIZE * SIZE
# What may be taken of a GPU's free memory; the rest is the network's.
_SHARE = 0.5
_AT_ONCE = 256
# A grey picture's shares of red, green and blue (ITU-R BT.601).
_LUMA = (0.299, 0.587, 0.114)


def fits(pairs: Pairs, device: torch.device) -> bool:
    """Whether all frames of `pairs` have room on the GPU `device`, beside what is trained."""
    frames = sum(len(clip.frames) for clip in pairs.clips) + len(pairs.stills)
    return frames * _FRAME_BYTES < _SHARE * torch.cuda.mem_get_info(device)[0]


class DevicePairs:
    """Endless batches of `sources` (source, driving, landmarks), as `Pairs` yields them one by one.

    Pictures are uint8, (B, 3, 256, 256) and (B, drivings, 3, 256, 256), landmarks (B, 1 + drivings, 175, 2)
    float32, NaN where they are not known; all are on `device`, and nothing waits for it. The distribution is
    that of `pairs`, whose frames and landmarks these are; the stream is another, of its seed and rank.
    """

    def __init__(self, pairs: Pairs, sources: int, device: torch.device) -> None:
        self.sources, self.drivings, self.device = sources, pairs.drivings, device
        self.still_share = pairs.still_share
        seed = np.random.SeedSequence([pairs.seed, pairs.rank]).generate_state(1, np.uint64)[0] >> 1
        self._random = torch.Generator(device).manual_seed(int(seed))
        frames = [frame for clip in pairs.clips for frame in clip.frames]
        self._frames = _decoded(frames, square_them=False, device=device)
        self._landmarks = (
            None if pairs.landmarks is None else _placed(np.concatenate(pairs.landmarks), device)
        )
        self._expressions = _placed(np.concatenate(pairs.expressions), device) if pairs.expressions else None
        self._stills = _decoded(pairs.stills, square_them=True, device=device) if pairs.stills else None
        known = pairs.still_landmarks
        self._still_landmarks = None if known is None or not pairs.stills else _placed(known, device)
        counts = np.array([len(usable) for usable in pairs.usable])
        starts = np.cumsum([0, *(len(clip.frames) for clip in pairs.clips)])
        rows = [start + usable for start, usable in zip(starts, pairs.usable, strict=False)]
        self._most = int(counts.max())
        # Of each clip: where it begins in `_rows`, and how many frames of it may be drawn.
        self._rows = torch.from_numpy(np.concatenate(rows)).to(device)
        self._begins = torch.from_numpy(np.cumsum(counts) - counts).to(device)
        self._counts = torch.from_numpy(counts).to(device)
        self._chances = torch.from_numpy(np.cumsum(pairs.weights)).to(device)
        self._mirror = torch.from_numpy(MIRROR).to(device)
        self._luma = torch.tensor(_LUMA, device=device).reshape(3, 1, 1)

    def __iter__(self) -> Iterator[Batch]:
        while True:
            yield self.draw()

    @torch.no_grad()
    def draw(self) -> Batch:
        """Return the next batch."""
        rows = self.chosen()
        pictures, faces = self._frames[rows], self._faces(rows)
        still = self._uniform(self.sources) < self.still_share
        if self._stills is not None:
            which = torch.randint(
                len(self._stills), (self.sources,), generator=self._random, device=self.device
            )
            pictures = torch.where(still[:, None, None, None, None], self._portraits(which), pictures)
            faces = torch.where(still[:, None, None, None], self._portrait_faces(which), faces)
        if self._landmarks is not None:
            pictures, faces = self.bent_alike(*self.looking(pictures, faces, still))
        moves = self.moves(still)
        pictures = moved(self.tinted(pictures).flatten(0, 1), moves.flatten(0, 1)).reshape(pictures.shape)
        return pictures[:, 0], pictures[:, 1:], self._carried(faces, moves)

    def chosen(self) -> Tensor:
        """Return which frames go together (B, 1 + drivings): the first is the source."""
        clip = torch.searchsorted(self._chances, self._uniform(self.sources).double())
        clip = clip.clamp(max=len(self._counts) - 1)
        count = self._counts[clip][:, None]
        # The smallest of so many random numbers stand at so many places in random order, none of them twice.
        places = torch.arange(self._most, device=self.device)
        keys = self._uniform(self.sources, self._most).masked_fill(places >= count, 2.0)
        drawn = keys.topk(min(1 + CANDIDATES, self._most), largest=False).indices
        rows = self._rows[(self._begins[clip][:, None] + drawn.minimum(count - 1))]
        there = places[: drawn.shape[1]] < count
        source, others = rows[:, :1], rows[:, 1:]
        left = count.clamp(max=drawn.shape[1]) - 1
        chosen = [source]
        for driving in range(self.drivings):
            place = driving % left
            if self._expressions is not None:
                far = self._uniform(self.sources, 1) < FAR
                place = torch.where(far, self._furthest(rows, there), place)
            chosen.append(others.gather(1, place))
        return torch.cat(chosen, dim=1)

    def _furthest(self, rows: Tensor, there: Tensor) -> Tensor:
        """Return which (B, 1) of the others differs most from the first in a kind of expression."""
        assert self._expressions is not None
        known = self._expressions[rows]
        kinds = known.shape[2]
        kind = torch.randint(kinds, (len(rows), 1, 1), generator=self._random, device=self.device)
        off = (known[:, 1:] - known[:, :1]).abs().gather(2, kind.expand(-1, known.shape[1] - 1, 1))[..., 0]
        return off.masked_fill(~there[:, 1:], -1.0).argmax(1, keepdim=True)

    def _faces(self, rows: Tensor) -> Tensor:
        if self._landmarks is None:
            return torch.full((*rows.shape, LANDMARKS, 2), torch.nan, device=self.device)
        return self._landmarks[rows]

    def _portraits(self, which: Tensor) -> Tensor:
        """Return portraits and their copies (B, 1 + drivings, ...), bent where landmarks are not known."""
        assert self._stills is not None
        pictures = self._stills[which]
        copies = pictures[:, None].expand(-1, 1 + self.drivings, -1, -1, -1)
        if self._still_landmarks is not None:
            return copies
        coarse = torch.randn(len(which) * self.drivings, 2, 5, 5, generator=self._random, device=self.device)
        driving = bent(copies[:, 1:].flatten(0, 1), 2 * BEND * coarse)
        return torch.cat([pictures[:, None], driving.reshape(copies[:, 1:].shape)], dim=1)

    def _portrait_faces(self, which: Tensor) -> Tensor:
        if self._still_landmarks is None:
            return torch.full((len(which), 1 + self.drivings, LANDMARKS, 2), torch.nan, device=self.device)
        return self._still_landmarks[which][:, None].expand(-1, 1 + self.drivings, -1, -1)

    def looking(self, pictures: Tensor, faces: Tensor, always: Tensor) -> tuple[Tensor, Tensor]:
        """Let eyes in pictures (B, N, 3, S, S) look elsewhere: of half of the sources, or `always` (B,)."""
        count, size = faces.shape[1], pictures.shape[-1]
        chosen = always | (self._uniform(self.sources) < GLANCES)
        aside = self._uniform(self.sources, count, within=(-ASIDE, ASIDE)) * chosen[:, None]
        places = pixel_grid(size, size, faces).reshape(1, -1, 2).expand(self.sources * count, -1, 2)
        origins, seen = glanced(faces.flatten(0, 1), aside.flatten(), places)
        looking = _sampled(pictures.flatten(0, 1), origins.reshape(-1, size, size, 2), "bilinear")
        return looking.reshape(pictures.shape), seen.reshape(faces.shape)

    def bent_alike(self, pictures: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Bend all pictures (B, N, 3, S, S) of some sources alike, and their landmarks (B, N, 175, 2)."""
        coarse = torch.randn(self.sources, 2, 5, 5, generator=self._random, device=self.device)
        coarse = 2 * BEND * coarse * (self._uniform(self.sources, 1, 1, 1) < BENT)
        each = coarse[:, None].expand(-1, faces.shape[1], -1, -1, -1).flatten(0, 1)
        changed = bent(pictures.flatten(0, 1), each).reshape(pictures.shape)
        there = bent_landmarks(faces.flatten(0, 1), each, pictures.shape[-1])
        return changed, there.reshape(faces.shape)

    def tinted(self, pictures: Tensor) -> Tensor:
        """Change brightness and colour of all pictures (B, N, 3, H, W) of a pair alike; some lose colour."""
        gain = self._uniform(self.sources, 1, 1, 1, 1, within=GAIN)
        gain = gain * self._uniform(self.sources, 1, 3, 1, 1, within=TINGE)
        light = self._uniform(self.sources, 1, 1, 1, 1, within=LIGHT)
        levels = pictures.float()
        grey = (levels * self._luma).sum(2, keepdim=True).round()
        levels = torch.where(self._uniform(self.sources, 1, 1, 1, 1) < GREY, grey, levels)
        return (levels * gain + light).clamp_(0, 255).to(torch.uint8)

    def moves(self, apart: Tensor) -> Tensor:
        """Return where pictures go (B, 1 + drivings, 2, 3): those of a pair together, where `apart` not."""
        batch, count = self.sources, 1 + self.drivings
        still = torch.eye(2, 3, device=self.device).expand(batch, 1, 2, 3)
        moving = self._uniform(batch, 1, 1, 1) < MOVED
        common = torch.where(moving, self._similarities(batch, 1, TOGETHER), still)
        mirrored = torch.where(self._uniform(batch, 1, 1) < 0.5, -1.0, 1.0)
        common = torch.stack([common[..., 0, :] * mirrored, common[..., 1, :]], dim=-2)
        common = common.expand(batch, count, 2, 3)
        own = self._similarities(batch, count, ALONE)
        alone = apart[:, None] | (self._uniform(batch, count) < APART)
        alone = alone & (torch.arange(count, device=self.device) > 0)
        after = _product(own[..., :2], common)
        after = torch.cat([after[..., :2], after[..., 2:] + own[..., 2:]], dim=-1)
        return torch.where(alone[..., None, None], after, common)

    def _similarities(self, batch: int, count: int, ranges: tuple[float, Range, float]) -> Tensor:
        """Return random rotations, zooms and shifts (batch, count, 2, 3)."""
        turn, zoom, shift = ranges
        angle = self._uniform(batch, count, within=(-turn, turn))
        low, high = np.log(zoom)
        scale = self._uniform(batch, count, within=(low, high)).exp()
        cos, sin = scale * angle.cos(), scale * angle.sin()
        x, y = self._uniform(2, batch, count, within=(-shift, shift))
        return torch.stack([cos, -sin, x, sin, cos, y], dim=-1).reshape(batch, count, 2, 3)

    def _carried(self, faces: Tensor, moves: Tensor) -> Tensor:
        """Return landmarks (B, N, 175, 2) of pictures that were moved; in mirrored ones, left stays left."""
        matrix = moves[..., None, :, :2]
        x = matrix[..., 0, 0] * faces[..., 0] + matrix[..., 0, 1] * faces[..., 1] + moves[..., None, 0, 2]
        y = matrix[..., 1, 0] * faces[..., 0] + matrix[..., 1, 1] * faces[..., 1] + moves[..., None, 1, 2]
        there = torch.stack([x, y], dim=-1)
        turned = moves[..., 0, 0] * moves[..., 1, 1] - moves[..., 0, 1] * moves[..., 1, 0] < 0
        return torch.where(turned[..., None, None], there.index_select(2, self._mirror), there)

    def _uniform(self, *shape: int, within: Range = (0.0, 1.0)) -> Tensor:
        low, high = within
        return low + (high - low) * torch.rand(shape, generator=self._random, device=self.device)


def moved(pictures: Tensor, moves: Tensor) -> Tensor:
    """Move what is at z in pictures (B, C, S, S) uint8 to A z + b, `moves` (B, 2, 3); the rest is reflected.

    Cubic interpolation, as `changes.moved`.
    """
    size = pictures.shape[-1]
    axis = (torch.arange(size, device=moves.device) * 2 + 1) / size - 1
    a, b, c, d = (moves[:, row, column, None, None] for row in (0, 1) for column in (0, 1))
    determinant = a * d - b * c
    x, y = axis[None, None, :] - moves[:, 0, 2, None, None], axis[None, :, None] - moves[:, 1, 2, None, None]
    places = torch.stack([(d * x - b * y) / determinant, (a * y - c * x) / determinant], dim=-1)
    return _sampled(pictures, places, "bicubic")


def bent(pictures: Tensor, coarse: Tensor) -> Tensor:
    """Bend pictures (B, C, S, S) uint8 by a displacement given at 5x5 places: `coarse` (B, 2, 5, 5)."""
    size = pictures.shape[-1]
    shift = F.interpolate(coarse, (size, size), mode="bicubic", align_corners=False)
    return _sampled(pictures, pixel_grid(size, size, coarse) + shift.permute(0, 2, 3, 1), "bilinear")


def bent_landmarks(faces: Tensor, coarse: Tensor, size: int) -> Tensor:
    """Return the landmarks (B, 175, 2) of pictures of `size` that were `bent`."""
    shift = F.interpolate(coarse, (size, size), mode="bicubic", align_corners=False)
    at = faces
    for _ in range(INVERSIONS):
        by = F.grid_sample(shift, at[:, :, None], padding_mode="border", align_corners=False)[..., 0]
        at = faces - by.transpose(1, 2)
    return at


def _sampled(pictures: Tensor, places: Tensor, mode: str) -> Tensor:
    """Sample at `places` (B, S, S, 2) in [-1, 1]; beyond the outermost pixels' centres it is reflected."""
    size = pictures.shape[-1]
    # There -1 and 1 are the outermost centres, which reflection is about.
    found = F.grid_sample(
        pictures.float(),
        places * (size / (size - 1)),
        mode=mode,
        padding_mode="reflection",
        align_corners=True,
    )
    return found.round_().clamp_(0, 255).to(torch.uint8)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Return matrices (..., 2, 2) times (..., 2, 3), written out: TF32 and autocast keep away from it."""
    return torch.stack(
        [a[..., row, :1] * b[..., 0, :] + a[..., row, 1:] * b[..., 1, :] for row in (0, 1)], dim=-2
    )


def _placed(numbers: np.ndarray[tuple[int, ...], np.dtype[np.float32]], device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(numbers, np.float32)).to(device)


def _decoded(files: Sequence[bytes], *, square_them: bool, device: torch.device) -> Tensor:
    """Return JPEG files as (N, 3, 256, 256) uint8 on `device`, decoded by all cores."""
    kept = torch.empty(len(files), 3, SIZE, SIZE, dtype=torch.uint8, device=device)
    with ThreadPoolExecutor(cpu_count()) as threads:
        for start in range(0, len(files), _AT_ONCE):
            part = files[start : start + _AT_ONCE]
            pictures = np.stack(list(threads.map(square if square_them else decode_jpeg, part)))
            kept[start : start + len(part)].copy_(torch.from_numpy(pictures).permute(0, 3, 1, 2))
    return kept
