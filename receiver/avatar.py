"""The receiver's own picture, animated in place of the sender's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from shared.keypoints import Pictures
from shared.media.heads import HeadFinder
from shared.media.squares import centred, cut, square_in_still
from shared.media.stills import read_still


def load_avatar(path: Path, size: int, find: HeadFinder, note: Callable[[str], None]) -> Pictures:
    """Return the square around the head in the picture at `path`: (size, size, 3) uint8 RGB.

    Where `find` sees no head that is the middle, and `note` hears so. Raises RequestError.
    """
    return framed(read_still(path, "--avatar"), size, find, lambda: note(no_face(path)))


def framed(picture: Pictures, size: int, find: HeadFinder, unseen: Callable[[], None]) -> Pictures:
    """Return the square around the head in `picture` (H, W, 3); `unseen` is called where there is none."""
    height, width = picture.shape[:2]
    square = None if width == height <= size else square_in_still(picture, find)
    if square is None:
        square = centred(width, height)
        if width != height or width > size:
            unseen()
    return cut(picture, square.x, square.y, square.size, size)


def no_face(path: Path | str) -> str:
    """Return the sentence for the user about a picture whose middle was taken."""
    return f"no face was found in {path}, so its middle was taken; cut out the face yourself for another."
