"""Endless random training pictures: which frames go together, and how they are changed on the way."""

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

from models.landmarks.points import COUNT as LANDMARKS
from models.landmarks.points import EYES, LEFT_EYE, MIRROR, NOSE_TIP, RIGHT_EYE, openings
from models.lite.geometry import pixel_grid
from models.training.data.frames import Clip, square
from models.training.data.glance import glanced
from shared.keypoints import Floats, Pictures

# A similarity as (2, 3): what is at z goes to A z + b, in positions in [-1, 1].
Move: TypeAlias = npt.NDArray[np.floating]
Range: TypeAlias = tuple[float, float]
# `models.training.data.device_pairs` draws by the same numbers.
MOVED, APART = 0.5, 0.12
"""How often a pair is zoomed into and turned as a whole, and one side of it once more by itself."""
TOGETHER: tuple[float, Range, float] = (0.15, (1.0, 1.35), 0.12)
ALONE: tuple[float, Range, float] = (0.25, (0.85, 1.2), 0.15)
"""Turn in radians each way, zoom, and shift each way, in [-1, 1]: of the pair, and of one side by itself."""
GAIN: Range = (0.8, 1.2)
TINGE: Range = (0.93, 1.07)
LIGHT: Range = (-20.0, 20.0)
"""What pixels are multiplied with, each colour by itself once more, and what is added to them."""
GREY = 0.08
BEND = 0.025
"""How far, of its size, a picture is bent at 5x5 places."""
BENT = 0.3
"""How often all pictures of a pair are bent alike: faces of other people."""
GLANCES, ASIDE = 0.5, 0.2
"""How often eyes look elsewhere, in all pictures of a pair, and how far each way, in eye widths."""
CANDIDATES = 6
"""Frames of which the most different is chosen, and how often it is."""
FAR = 0.5
INVERSIONS = 4
"""Steps in which it is found where a bent picture's landmarks are: the shift is smooth, and few do."""


class Pairs(IterableDataset[tuple[Tensor, Tensor, Tensor]]):
    """Endless random (source, driving, landmarks) of one clip each: one source, `drivings` driving frames.

    Pictures are uint8, (3, 256, 256) and (drivings, 3, 256, 256). A source costs a network more than a frame
    drawn from it; with more than one driving frame, less of the time goes into sources.

    People are drawn by the square root of their number of frames, so that neither one long recording nor many
    short ones of one person dominate. `stills` are JPEG files of single portraits: a share `still_share` is
    one of them and moved or bent copies of it. `landmarks` has one array (frames, 175, 2) for each clip,
    and `still_landmarks` (stills, 175, 2) is of the stills: those of the pictures come with them as
    (1 + drivings, 175, 2) float32, NaN where they are not known. Where they are, half of the driving frames
    are those whose lips, lids, gaze or turn differ most from the source's, for most of what people do is
    nothing; and in half of the pairs, and all portraits, eyes look elsewhere (`models.training.data.glance`).
    All are mirrored, tinted, zoomed and turned, some bent. The stream is a function of seed, rank and worker.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        seed: int,
        rank: int = 0,
        *,
        drivings: int = 1,
        stills: Sequence[bytes] = (),
        still_share: float = 0.1,
        landmarks: Sequence[Floats] | None = None,
        still_landmarks: Floats | None = None,
    ) -> None:
        super().__init__()
        self.clips, self.stills = clips, stills
        self.landmarks, self.still_landmarks = landmarks, still_landmarks
        self.seed, self.rank, self.drivings = seed, rank, drivings
        self.still_share = still_share if stills else 0.0
        self.weights = _by_person(clips)
        self.expressions = [_expressions(found) for found in landmarks or ()]
        self.usable = [self._with_faces(index) for index in range(len(clips))]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, self.rank, worker.id if worker else 0])
        while True:
            still = rng.random() < self.still_share
            pair, faces = self._still(rng) if still else self._moving(rng)
            if still or rng.random() < GLANCES:
                pair, faces = self._looking(pair, faces, rng)
            if rng.random() < BENT:
                shift = bend(len(pair[0]), rng)
                pair, faces = [bent(picture, shift) for picture in pair], bent_landmarks(faces, shift)
            yield self._finish(pair, faces, rng, apart=still)

    def _moving(self, rng: np.random.Generator) -> tuple[list[Pictures], Floats]:
        index = int(rng.choice(len(self.clips), p=self.weights))
        clip = self.clips[index]
        frames = self._frames(index, rng)
        faces = self._unknown() if self.landmarks is None else self.landmarks[index][frames]
        return [clip.picture(frame) for frame in frames], faces

    def _with_faces(self, index: int) -> npt.NDArray[np.int64]:
        """Return a clip's frames without those, between others, where no face was found: cuts and fades."""
        frames = np.arange(len(self.clips[index].frames))
        if self.landmarks is None:
            return frames
        known = frames[np.isfinite(self.landmarks[index]).all((1, 2))]
        return known if len(known) > 1 else frames

    def _frames(self, index: int, rng: np.random.Generator) -> list[int]:
        """Choose a source and driving frames of a clip."""
        frames = self.usable[index]
        first, *others = (int(i) for i in rng.choice(frames, min(1 + CANDIDATES, len(frames)), replace=False))
        chosen = [first]
        for driving in range(self.drivings):
            far = bool(self.expressions) and rng.random() < FAR
            other = self._furthest(index, first, others, rng) if far else others[driving % len(others)]
            chosen.append(other)
        return chosen

    def _furthest(self, index: int, first: int, others: list[int], rng: np.random.Generator) -> int:
        """Return which of the others differs most in one kind of expression, drawn anew each time.

        By their sum, hardly a frame would be chosen for its gaze.
        """
        known = self.expressions[index]
        kind = int(rng.integers(known.shape[1]))
        return others[int(np.abs(known[others, kind] - known[first, kind]).argmax())]

    def _still(self, rng: np.random.Generator) -> tuple[list[Pictures], Floats]:
        index = int(rng.integers(len(self.stills)))
        picture = square(self.stills[index])
        if self.still_landmarks is None:
            copies = [bent(picture, bend(len(picture), rng)) for _ in range(self.drivings)]
            return [picture, *copies], self._unknown()
        count = 1 + self.drivings
        return [picture] * count, np.stack([self.still_landmarks[index]] * count)

    @staticmethod
    def _looking(
        pair: list[Pictures], faces: Floats, rng: np.random.Generator
    ) -> tuple[list[Pictures], Floats]:
        """Return pictures whose eyes look elsewhere, each by itself, and their landmarks."""
        size = len(pair[0])
        around = faces[:, EYES]
        if not np.isfinite(around).all():
            return pair, faces
        # Nothing changes beyond the eyes.
        low = np.clip(np.floor((around.min((0, 1)) + 1) * size / 2), 0, size - 1).astype(int)
        high = np.clip(np.ceil((around.max((0, 1)) + 1) * size / 2), low + 1, size).astype(int)
        places = pixel_grid(size, size, torch.from_numpy(faces))[low[1] : high[1], low[0] : high[0]]
        aside = torch.from_numpy(rng.uniform(-ASIDE, ASIDE, len(pair)).astype(np.float32))
        origins, seen = glanced(
            torch.from_numpy(faces), aside, places.reshape(1, -1, 2).expand(len(pair), -1, 2)
        )
        changed = []
        for picture, origin in zip(pair, origins.reshape(len(pair), *places.shape).numpy(), strict=True):
            x, y = np.moveaxis((origin + 1) * (size / 2) - 0.5, -1, 0)
            picture = picture.copy()
            picture[low[1] : high[1], low[0] : high[0]] = cv2.remap(
                picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
            )
            changed.append(picture)
        return changed, seen.numpy()

    def _unknown(self) -> Floats:
        return np.full((1 + self.drivings, LANDMARKS, 2), np.nan, np.float32)

    def _finish(
        self, pair: list[Pictures], faces: Floats, rng: np.random.Generator, apart: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        pair = tint(pair, rng)
        common: Move = np.eye(2, 3)
        if rng.random() < MOVED:
            common = similarity(rng, *TOGETHER)
        if rng.random() < 0.5:
            common = common * [[-1], [1]]
        moves: list[Move] = [common] * len(pair)
        for index in range(1, len(pair)):
            if apart or rng.random() < APART:
                own = similarity(rng, *ALONE)
                moves[index] = np.vstack([own, [0, 0, 1]])[:2] @ np.vstack([common, [0, 0, 1]])
        source, *driving = (moved(picture, move) for picture, move in zip(pair, moves, strict=True))
        seen = np.stack([_carried(face, move) for face, move in zip(faces, moves, strict=True)])
        return (
            _channels_first(source),
            torch.stack([_channels_first(picture) for picture in driving]),
            torch.from_numpy(seen),
        )


def _expressions(landmarks: Floats) -> Floats:
    """Return lips, lids, gaze and turn of the head (frames, 4), each in units of how much it varies."""
    turn = _turn(landmarks)
    values = np.column_stack([openings(landmarks), turn])
    spread = np.nanstd(values, axis=0) if np.isfinite(values).any() else np.ones(values.shape[1])
    return np.nan_to_num((values / np.maximum(spread, 1e-3)).astype(np.float32))


def _turn(landmarks: Floats) -> Floats:
    """Return where the nose lies between the outer corners of the eyes (frames,): 0.5 from the front."""
    right, left = landmarks[:, RIGHT_EYE[0]], landmarks[:, LEFT_EYE[0]]
    line = left - right
    along = ((landmarks[:, NOSE_TIP] - right) * line).sum(-1)
    return np.asarray(along / np.maximum((line * line).sum(-1), 1e-6), np.float32)


def _carried(face: Floats, move: Move) -> Floats:
    """Return the landmarks (175, 2) of a picture that was moved."""
    there = (face @ move[:, :2].T + move[:, 2]).astype(np.float32)
    return there[MIRROR] if np.linalg.det(move[:, :2]) < 0 else there


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


def bend(size: int, rng: np.random.Generator) -> Floats:
    """Return a smooth random displacement (size, size, 2) of about 4 % of a square picture, in pixels."""
    coarse = rng.normal(0, BEND * size, (5, 5, 2)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC))


def bent(picture: Pictures, shift: Floats) -> Pictures:
    """Show at each pixel of a square picture what is by `shift` (size, size, 2) pixels away from it."""
    size = len(picture)
    x, y = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
    shown = cv2.remap(
        picture, x + shift[..., 0], y + shift[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(shown, np.uint8)


def bent_landmarks(faces: Floats, shift: Floats) -> Floats:
    """Return the landmarks (N, 175, 2) of pictures that were `bent`."""
    size = len(shift)
    places = (faces.reshape(-1, 1, 2) + 1) * (size / 2) - 0.5
    at = places
    # What is now at p was at p + shift(p).
    for _ in range(INVERSIONS):
        moved_by = cv2.remap(shift, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        at = places - moved_by
    return np.asarray(((at + 0.5) * (2 / size) - 1).reshape(faces.shape), np.float32)


def tint(pair: Sequence[Pictures], rng: np.random.Generator) -> list[Pictures]:
    """Change brightness and colour of all pictures of a pair alike; now and then, take the colour away."""
    gain = rng.uniform(*GAIN) * rng.uniform(*TINGE, 3)
    table = np.clip(np.arange(256)[:, None] * gain + rng.uniform(*LIGHT), 0, 255).astype(np.uint8)
    if rng.random() < GREY:
        pair = [np.repeat(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2) for p in pair]
    return [np.asarray(cv2.LUT(np.ascontiguousarray(p), table[None]), np.uint8) for p in pair]
