"""The square that follows the head: looks for heads now and then, and asks `sender.framing` what follows."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sender.crop import centre_square
from sender.framing import LOOK_S, Framer
from shared.constants import SIZE
from shared.keypoints import Pictures
from shared.media.heads import HeadFinder
from shared.media.squares import cut

NO_HEAD = (
    "no head was found in the first frames, so the middle of the picture is sent until one appears; "
    "use --crop X,Y,SIZE to choose a square."
)

DARK = (
    "the picture is too dark to find a head in, so its middle is sent until one appears; turn on a light, "
    "or choose a square with --crop X,Y,SIZE."
)
_DARK_LEVEL, _LIT_SHARE = 50, 0.95
"""A picture is dark where so large a share of its pixels is no brighter than that, of 255."""


class AutomaticFraming:
    """Implements `sender.crop.Framing` with `find`; `note` takes a sentence for the user, at most one."""

    def __init__(self, find: HeadFinder, note: Callable[[str], None]) -> None:
        self._find, self._note = find, note
        self._framer: Framer | None = None
        self._shape = (0, 0)
        self._next_look = 0.0
        self._jumps = 0

    def begin(self, pictures: Iterable[Pictures]) -> None:
        """Put the square around the head in `pictures` (H, W, 3), uint8 RGB; see `Framer.begin`."""
        framer: Framer | None = None
        looks = []
        dark = 0
        for picture in pictures:
            if framer is None:
                framer = self._start(picture)
            if not framer.has_choice:
                return
            looks.append(self._find(picture))
            dark += is_dark(picture)
        if framer is not None and not framer.begin(looks):
            self._note(DARK if 2 * dark > len(looks) else NO_HEAD)

    def apply(self, picture: Pictures, seconds: float = 0.0, side: int = SIZE) -> Pictures:
        """Return the square of `picture` (H, W, 3), uint8 RGB, as (side, side, 3)."""
        framer = self._framer
        if framer is None or self._shape != picture.shape[:2]:
            # A camera that was plugged in again may give pictures of another size.
            framer = self._start(picture)
            if framer.has_choice:
                framer.begin([self._find(picture)])
                self._jumps += 1
        if not framer.has_choice:
            height, width = picture.shape[:2]
            return centre_square(width, height).apply(picture, side=side)
        if seconds >= self._next_look:
            framer.look(self._find(picture), seconds)
            self._next_look = seconds + LOOK_S
        square = framer.square(seconds)
        return cut(picture, square.x, square.y, square.size, side)

    def cut(self) -> None:
        """See `sender.crop.Framing`: whoever is in the next picture is looked for at once."""
        if self._framer is not None:
            self._framer.cut()
        self._next_look = 0.0

    @property
    def jumps(self) -> int:
        """See `sender.crop.Framing`."""
        return self._jumps + (self._framer.jumps if self._framer is not None else 0)

    def _start(self, picture: Pictures) -> Framer:
        height, width = picture.shape[:2]
        self._jumps = self.jumps
        self._shape = (height, width)
        self._framer = Framer(width, height)
        return self._framer


def is_dark(picture: Pictures) -> bool:
    """Say whether there is too little light in `picture` (H, W, 3), uint8 RGB, to see a face by."""
    few = picture[::8, ::8].max(2)
    return bool((few <= _DARK_LEVEL).mean() >= _LIT_SHARE)
