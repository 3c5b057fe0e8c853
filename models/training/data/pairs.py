"""Endless random training pictures: which frames go together, and how they are changed on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from models.landmarks.glance import looking
from models.landmarks.points import COUNT as LANDMARKS
from models.landmarks.points import LEFT_EYE, MIRROR, NOSE_TIP, RIGHT_EYE, openings
from models.training.data.changes import (
    Move,
    Range,
    bend,
    bent,
    bent_landmarks,
    moved,
    similarity,
    tint,
)
from models.training.data.frames import Clip, square
from shared.keypoints import Floats, Pictures

# `models.training.data.device_pairs` draws by the same numbers.
MOVED, APART = 0.5, 0.12
"""How often a pair is zoomed into and turned as a whole, and one side of it once more by itself."""
TOGETHER: tuple[float, Range, float] = (0.15, (1.0, 1.35), 0.12)
ALONE: tuple[float, Range, float] = (0.25, (0.85, 1.2), 0.15)
"""Turn in radians each way, zoom, and shift each way, in [-1, 1]: of the pair, and of one side by itself."""
BENT = 0.6
"""How often all pictures of a pair are bent alike: faces of other people."""
GLANCES, ASIDE = 0.5, 0.2
"""How often eyes look elsewhere, in all pictures of a pair, and how far each way, in eye widths."""
CANDIDATES = 6
"""Frames of which the most different is chosen, and how often it is."""
FAR = 0.5


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
    nothing; in half of the pairs, and all portraits, eyes look elsewhere (`models.landmarks.glance`), and
    some are bent. All are mirrored, tinted, zoomed and turned. The stream is a function of seed, rank and
    worker.
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
            if self.landmarks is not None:
                pair, faces = self._varied(pair, faces, rng, always=still)
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
    def _varied(
        pair: list[Pictures], faces: Floats, rng: np.random.Generator, *, always: bool
    ) -> tuple[list[Pictures], Floats]:
        """Have eyes look elsewhere, now and then or `always`, and now and then bend all pictures alike."""
        if always or rng.random() < GLANCES:
            aside = rng.uniform(-ASIDE, ASIDE, len(pair)).astype(np.float32)
            pair, faces = looking(pair, faces, aside)
        if rng.random() < BENT:
            shift = bend(len(pair[0]), rng)
            pair, faces = [bent(picture, shift) for picture in pair], bent_landmarks(faces, shift)
        return pair, faces

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
