"""The square of a picture that is used: where the networks expect a head in it, and cutting it out.

The networks know heads as their training pictures showed them: the face in the middle, a bit over half as
large as the square.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from shared.keypoints import Pictures
from shared.media.heads import Head, HeadFinder

FACE_X, FACE_Y, FACE_SIZE = 0.50, 0.48, 0.545
"""Position of a face's centre in the square, and its size, in sides: the medians of training clips."""
SAFE_OFFSET = 0.12
"""Largest distance from there, in sides; nine of ten training clips lie within this."""
SAFE_SIZE = (0.70, 1.35)
"""Smallest and largest size allowed, in its usual sizes."""
SMALLEST_SIDE = 160
"""Of the square, in pixels of the camera: below, enlarging it shows too little of the face."""
WHOLE_SIDE = 256
"""A picture no larger than this, in pixels of the shorter side, was cut out before: nothing less is taken."""
FIRST_SCORE = 0.55
"""Least confidence in a head to be chosen; one that is followed already may have less."""
# Halves as often as leaves at least this many times the wanted size, then filters: 2.4 ms a 1080p frame on a
# slow core instead of 6, and no visible difference.
_REDUCING_GAP = 2.0
# A second look at a head in a still picture sees this many of its sizes around it.
_CLOSER = 5.0


@dataclass(frozen=True)
class Square:
    """A square by its left, top and side, in pixels of the picture, not always whole ones."""

    x: float
    y: float
    size: float

    def place(self, head: Head) -> tuple[float, float, float]:
        """Return where `head` stands in this square and how large it is, in sides."""
        return (head.x - self.x) / self.size, (head.y - self.y) / self.size, head.size / self.size


def centred(width: int, height: int) -> Square:
    """Return the largest square in the middle of a picture of `width` x `height` pixels."""
    size = min(width, height)
    return Square((width - size) // 2, (height - size) // 2, size)


def around(head: Head, width: int, height: int, size: float | None = None) -> Square:
    """Return the square around `head` in `width` x `height` pixels, of the side `size` where that suits."""
    least = min(width, height)
    least = least if least <= WHOLE_SIDE else min(SMALLEST_SIDE, least)
    if size is None or not is_suitable(head.size / size):
        size = head.size / FACE_SIZE
    side = round(min(max(size, least), width, height))
    x = min(max(round(head.x - FACE_X * side), 0), width - side)
    y = min(max(round(head.y - FACE_Y * side), 0), height - side)
    return Square(x, y, side)


def is_well_placed(head: Head, square: Square) -> bool:
    """Say whether `head` stands in `square` about as the heads of training clips do."""
    x, y, size = square.place(head)
    return max(abs(x - FACE_X), abs(y - FACE_Y)) <= SAFE_OFFSET and is_suitable(size)


def is_suitable(size: float) -> bool:
    """Say whether a head of `size`, in sides of the square, is about as large as those of training clips."""
    return SAFE_SIZE[0] <= size / FACE_SIZE <= SAFE_SIZE[1]


def main_head(heads: Iterable[Head], width: int, height: int) -> Head | None:
    """Return the one whose picture this is: large, rather in the middle than at the edge; None without."""
    middle, reach = (width / 2, height / 2), math.hypot(width, height) / 2

    def weight(head: Head) -> float:
        return head.size * (1 - 0.5 * math.dist((head.x, head.y), middle) / reach)

    return max((head for head in heads if head.score >= FIRST_SCORE), key=weight, default=None)


def square_in_still(picture: Pictures, find: HeadFinder) -> Square | None:
    """Return the square around the head in `picture` (H, W, 3), uint8 RGB; None where `find` sees none.

    As a sender's first one, but looked for at leisure: heads that are small in the whole are sought in its
    parts. A head that is well placed in the middle leaves the largest square there.
    """
    height, width = picture.shape[:2]
    head = main_head(find(picture), width, height)
    for look in () if head else _parts(picture, find):
        head = main_head(look, width, height)
        if head is not None:
            break
    if head is None:
        return None
    head = _looked_at_again(picture, head, find)
    middle = centred(width, height)
    return middle if is_well_placed(head, middle) else around(head, width, height)


def _parts(picture: Pictures, find: HeadFinder) -> Iterator[Sequence[Head]]:
    """Yield the heads in squares of half the longer side, from the top on; each overlaps the next by half."""
    height, width = picture.shape[:2]
    side = min(max(height, width) // 2, height, width)
    tops, lefts = (
        np.unique(np.linspace(0, most - side, math.ceil(2 * (most - side) / side) + 1).astype(int))
        for most in (height, width)
    )
    for top in tops:
        yield [head for left in lefts for head in _seen_in(picture, int(left), int(top), side, find)]


def _looked_at_again(picture: Pictures, head: Head, find: HeadFinder) -> Head:
    """Return `head` as it is found in a picture of its surroundings, where it is larger; else as it was."""
    side = round(min(_CLOSER * head.size, *picture.shape[:2]))
    left, top = (
        round(min(max(at - side / 2, 0), most - side))
        for at, most in ((head.x, picture.shape[1]), (head.y, picture.shape[0]))
    )
    near = [
        one for one in _seen_in(picture, left, top, side, find)
        if math.dist((one.x, one.y), (head.x, head.y)) < head.size / 2
    ]  # fmt: skip
    return max(near, key=lambda one: one.score, default=head)


def _seen_in(picture: Pictures, left: int, top: int, side: int, find: HeadFinder) -> list[Head]:
    part = picture[top : top + side, left : left + side]
    return [Head(one.x + left, one.y + top, one.size, one.score) for one in find(part)]


def scaled(picture: Pictures, side: int) -> Pictures:
    """Return a square `picture` (S, S, 3), uint8 RGB, as (side, side, 3); itself where it is so large."""
    return picture if len(picture) == side else cut(picture, 0, 0, len(picture), side)


def cut(picture: Pictures, x: float, y: float, size: float, side: int) -> Pictures:
    """Return the square of `picture` (H, W, 3), uint8 RGB, at x, y, which lies in it, as (side, side, 3).

    Fractions of pixels count, so that a square can move smoothly.
    """
    left, top = int(x), int(y)
    right, bottom = math.ceil(x + size), math.ceil(y + size)
    part = np.ascontiguousarray(picture[top:bottom, left:right])
    if part.shape[:2] == (side, side) and size == side:
        return part
    scaled = Image.fromarray(part).resize(
        (side, side), Image.Resampling.BICUBIC,
        box=(x - left, y - top, x - left + size, y - top + size), reducing_gap=_REDUCING_GAP,
    )  # fmt: skip
    return np.array(scaled, dtype=np.uint8)
