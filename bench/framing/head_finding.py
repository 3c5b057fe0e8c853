"""Accuracy of head finding in wide frames, against YuNet's faces in the square clips these are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import median
from time import perf_counter

import numpy as np

from bench.framing.wide import HEIGHT, WIDTH, Placed, room, widened
from bench.harness.clip_set import Clip, frames, spread
from bench.harness.faces import Face, FaceFinder
from bench.harness.report import Row
from shared.constants import SIZE
from shared.keypoints import Pictures
from shared.media.heads import Head, HeadFinder

SHARES = (0.04, 0.06, 0.09, 0.14, 0.2)
"""Sizes of faces, in widths of the frame: from across a room to close to the camera."""
COLUMNS = ("face_share", "faces", "found", "centre_error", "iou", "false_per_frame", "find_ms")
_PER_CLIP, _MAX_FRAMES, _EMPTY = 4, 300, 200
_FOUND = 0.5
"""A face is found where a head's centre lies within half the face's size."""
# `bench.harness.faces` pads its boxes by a tenth on each side.
_PADDED = 1.2


@dataclass
class Tally:
    """Results of the frames with faces of one size."""

    faces: int = 0
    false: int = 0
    errors: list[tuple[float, float]] | None = None

    def add(self, face: Head, heads: Sequence[Head]) -> None:
        """Take in one frame: the face in it, and what was found."""
        self.faces += 1
        off = [(math.dist((h.x, h.y), (face.x, face.y)) / face.size, iou(h, face)) for h in heads]
        hits = [one for one in off if one[0] < _FOUND]
        self.false += len(off) - min(len(hits), 1)
        self.errors = [*(self.errors or []), *([min(hits)] if hits else [])]

    def row(self, share: float) -> Row:
        """Return shares of faces found and medians of centre error (in sizes) and of IoU."""
        errors = self.errors or [(math.nan, math.nan)]
        return {
            "face_share": share,
            "faces": self.faces,
            "found": len(self.errors or []) / max(self.faces, 1),
            "centre_error": median(error for error, _ in errors),
            "iou": median(overlap for _, overlap in errors),
            "false_per_frame": self.false / max(self.faces, 1),
        }


def measure_finder(find: HeadFinder, clips: Sequence[Clip], yunet: FaceFinder) -> list[Row]:
    """Return a row for each size of faces, and one of rooms without any."""
    random = np.random.default_rng(7)
    portraits = [found for clip in clips for found in _portraits(clip, yunet)]
    rows = []
    for share in SHARES:
        tally = Tally()
        for picture, face in portraits:
            place = _place(face, share * WIDTH, random)
            scale = place.side / SIZE
            known = Head(place.left + face.x * scale, place.top + face.y * scale, face.size * scale)
            wide = widened(picture, room(int(random.integers(1 << 30))), place)
            tally.add(known, find(wide))
        rows.append(tally.row(share))
    return [*rows, _rooms(find)]


def iou(a: Head, b: Head) -> float:
    """Return the intersection over the union of two heads as squares."""
    across = min(a.x + a.size / 2, b.x + b.size / 2) - max(a.x - a.size / 2, b.x - b.size / 2)
    down = min(a.y + a.size / 2, b.y + b.size / 2) - max(a.y - a.size / 2, b.y - b.size / 2)
    common = max(across, 0.0) * max(down, 0.0)
    return common / (a.size**2 + b.size**2 - common)


def head_of(face: Face) -> Head:
    """Return a face's padded box as a head."""
    size = math.sqrt((face.right - face.left) * (face.bottom - face.top)) / _PADDED
    return Head((face.left + face.right) / 2, (face.top + face.bottom) / 2, size)


def _rooms(find: HeadFinder) -> Row:
    """Return how many heads are seen in rooms without any, and the time that a look takes."""
    false, times = 0, []
    for seed in range(_EMPTY):
        picture = room(seed)
        began = perf_counter()
        false += len(find(picture))
        times.append(perf_counter() - began)
    return {"face_share": 0.0, "faces": 0, "false_per_frame": false / _EMPTY, "find_ms": 1000 * median(times)}


def _portraits(clip: Clip, yunet: FaceFinder) -> list[tuple[Pictures, Head]]:
    shown = list(islice(frames(clip), _MAX_FRAMES))
    chosen = [shown[index] for index in spread(0, len(shown) - 1, _PER_CLIP)]
    found = [(picture, yunet.find(picture)) for picture in chosen]
    return [(picture, head_of(face)) for picture, face in found if face is not None]


def _place(face: Head, size: float, random: np.random.Generator) -> Placed:
    """Return where to put a picture so that its face has this size and lies within the frame somewhere."""
    scale = size / face.size
    x, y = random.uniform(size, WIDTH - size), random.uniform(size, HEIGHT - size)
    return Placed(float(x) - face.x * scale, float(y) - face.y * scale, SIZE * scale)
