"""Windows of clips that forecasts are judged on: what is observed, what follows, and how it is drawn.

The two modes of the paper (section 3.1). Reconstruction: a clip's own first frame is the source, and the
truth is the video. Transfer: another person's first frame is the source, the motion is relative to the clip's
first frame, and the truth is what the network draws from the true keypoints.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, get_args

import numpy as np

from bench.harness.clip_set import Clip, ClipError, chosen, frames, spread
from shared.errors import RequestError
from shared.interfaces import Backbone
from shared.keypoints import Floats, Pictures

Mode = Literal["reconstruction", "transfer"]
MODES: tuple[Mode, ...] = get_args(Mode)
MAX_FRAMES = 1000
_BATCH = 16
# Pictures that the next window may show again: true keypoints of overlapping windows, held frames.
_REMEMBERED = 96


@dataclass(frozen=True)
class Horizon:
    """`observed` frames are known, `predicted` follow."""

    observed: int
    predicted: int

    @property
    def length(self) -> int:
        """Frames in a window."""
        return self.observed + self.predicted

    def __str__(self) -> str:
        return f"{self.observed}-{self.predicted}"

    def starts(self, total: int, most: int = 0) -> list[int]:
        """Return where windows begin that do not overlap, in a clip of `total` frames.

        At most `most` of them, evenly spread over the clip; all where it is 0.
        """
        count = total // self.length
        return [index * self.length for index in spread(0, count - 1, most or count)] if count else []


def parse_horizons(text: str) -> list[Horizon]:
    """Return the horizons of "6-6,6-24"; RequestError where `text` is not such a list."""
    found = []
    for part in text.split(","):
        numbers = re.fullmatch(r"(\d{1,4})-(\d{1,4})", part.strip())
        if not numbers or not all(1 <= int(number) <= MAX_FRAMES for number in numbers.groups()):
            raise RequestError(
                f"{part.strip()!r} is not a horizon; give OBSERVED-PREDICTED frames (1 to {MAX_FRAMES}), "
                "such as 6-6,6-24."
            )
        found.append(Horizon(int(numbers[1]), int(numbers[2])))
    return list(dict.fromkeys(found))


def parse_modes(text: str) -> list[Mode]:
    """Return the modes of "reconstruction,transfer"; RequestError for another word."""
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in MODES:
            raise RequestError(f"{word!r} is not a mode; use one of {', '.join(MODES)}, or both.")
    return [mode for mode in MODES if mode in words]


def keypoints_of(backbone: Backbone, clip: Clip) -> Floats:
    """Return the keypoints (T, D) of every frame of `clip`; ClipError where it is no sound video."""
    found: list[Floats] = []
    pictures = frames(clip)
    while batch := list(islice(pictures, _BATCH)):
        found.append(backbone.detect(np.stack(batch)))
    if not found:
        raise ClipError(f"{clip} has no frames.")
    return np.concatenate(found)


def pictures_of(clip: Clip, first: int, count: int) -> Pictures:
    """Return frames `first` to `first + count - 1` of `clip`: (count, 256, 256, 3)."""
    return np.stack(list(chosen(clip, range(first, first + count))))


def others(clips: Sequence[Clip], clip: Clip) -> list[Clip]:
    """Return the clips whose first frame `clip` may move in transfer mode, one a person, the best first.

    From the person half way round the list on, the same for the same clips; none where there is one person.
    """
    people = list(dict.fromkeys(each.person for each in clips))
    place = people.index(clip.person) + len(people) // 2
    names = [people[(place + step) % len(people)] for step in range(len(people))]
    return [next(each for each in clips if each.person == name) for name in names if name != clip.person]


class Scene:
    """One clip in one mode: draws keypoints of its motion, each distinct set once while it is remembered.

    Not thread-safe.
    """

    def __init__(self, backbone: Backbone, mode: Mode, source: Pictures, first: Floats) -> None:
        """Take the picture to move (256, 256, 3), and the keypoints (D,) of the clip's first frame."""
        self.mode = mode
        self._backbone = backbone
        self._source = backbone.encode(source)
        self._transfer = backbone.transfer(self._source, first) if mode == "transfer" else None
        self._drawn: OrderedDict[bytes, Pictures] = OrderedDict()
        self.renders = 0

    def draw(self, keypoints: Floats) -> Pictures:
        """Return the pictures (B, 256, 256, 3) of the clip's person at `keypoints` (B, D), as detected."""
        keys = [row.tobytes() for row in keypoints]
        missing = {key: index for index, key in enumerate(keys) if key not in self._drawn}
        fresh: dict[bytes, Pictures] = {}
        if missing:
            rows = keypoints[list(missing.values())]
            fresh = dict(zip(missing, self._backbone.render(self._source, self._placed(rows)), strict=True))
            self.renders += len(missing)
        pictures = np.stack([fresh[key] if key in fresh else self._drawn[key] for key in keys])
        self._remember(keys, pictures)
        return pictures

    def _placed(self, keypoints: Floats) -> Floats:
        return keypoints if self._transfer is None else self._transfer(keypoints)

    def _remember(self, keys: Sequence[bytes], pictures: Pictures) -> None:
        for key, picture in zip(keys, pictures, strict=True):
            self._drawn[key] = picture
            self._drawn.move_to_end(key)
        while len(self._drawn) > _REMEMBERED:
            self._drawn.popitem(last=False)


def scene(
    backbone: Backbone, mode: Mode, clips: Sequence[Clip], clip: Clip, keypoints: Floats
) -> Scene | None:
    """Return the scene of `clip`, whose `keypoints` (T, D) are known; None where there is nobody else."""
    sources = [clip] if mode == "reconstruction" else others(clips, clip)
    for source in sources:
        try:
            picture = next(chosen(source, [0]))
        except (ClipError, StopIteration):
            continue  # a broken clip has been reported where it is measured itself
        return Scene(backbone, mode, picture, keypoints[0])
    return None


def truth(drawn: Scene, clip: Clip, keypoints: Floats, first: int, count: int) -> Pictures:
    """Return what frames `first` onwards ought to look like: (count, 256, 256, 3)."""
    if drawn.mode == "reconstruction":
        return pictures_of(clip, first, count)
    return drawn.draw(keypoints[first : first + count])
