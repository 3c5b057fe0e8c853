"""The receiver's own picture, animated in place of the sender's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from shared.keypoints import Pictures
from shared.media.heads import HeadFinder
from shared.media.squares import centred, cut, square_in_still
from shared.media.stills import read_still


def load_avatar(path: Path, sizes: Sequence[int], find: HeadFinder, note: Callable[[str], None]) -> Pictures:
    """Return the square around the head in the picture at `path`: (S, S, 3) uint8 RGB; see `framed`.

    Where `find` sees no head that is the middle, and `note` hears so. Raises RequestError.
    """
    return framed(read_still(path, "--avatar"), sizes, find, lambda: note(no_face(path)))


def framed(picture: Pictures, sizes: Sequence[int], find: HeadFinder, unseen: Callable[[], None]) -> Pictures:
    """Return the square around the head in `picture` (H, W, 3); `unseen` is called where there is none.

    It is scaled to the largest of `sizes`, which rise, that it has the pixels for, at least to the first.
    """
    height, width = picture.shape[:2]
    square = None if width == height <= sizes[0] else square_in_still(picture, find)
    if square is None:
        square = centred(width, height)
        if width != height or width > sizes[0]:
            unseen()
    side = max((size for size in sizes if size <= square.size), default=sizes[0])
    return cut(picture, square.x, square.y, square.size, side)


def no_face(path: Path | str) -> str:
    """Return the sentence for the user about a picture whose middle was taken."""
    return f"no face was found in {path}, so its middle is used; crop the picture to the face to avoid that."
