"""The square of the picture that is sent, scaled to what the call wants."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from sender.denoising import Denoiser
from sender.scenes import Cuts
from shared.constants import SIZE
from shared.errors import RequestError
from shared.keypoints import Pictures
from shared.media.squares import cut
from shared.runtime.logs import logger

CENTRE = "centre"
SMALLEST = 16
_MAX_DIGITS = 5
_log = logger("camera")


class Framing(Protocol):
    """Chooses the square of each picture of one source. One thread owns it."""

    def begin(self, pictures: Iterable[Pictures]) -> None:
        """Choose the first square; `pictures`, the first of the source, are only fetched where that helps."""
        ...

    def apply(self, picture: Pictures, seconds: float = 0.0, side: int = SIZE) -> Pictures:
        """Return the square of `picture` (H, W, 3), uint8 RGB, taken at `seconds`, as (side, side, 3).

        `seconds` never falls. Raises RequestError where there is no such square.
        """
        ...

    def cut(self) -> None:
        """Know that the next picture is of another scene."""
        ...

    @property
    def jumps(self) -> int:
        """How often the square has been put somewhere else at once: another scene to whoever looks."""
        ...


@dataclass(frozen=True)
class Crop:
    """A square of `size` pixels whose top left corner stands at column `x`, row `y`; whole pixels, >= 0."""

    x: int
    y: int
    size: int

    @classmethod
    def parse(cls, text: str) -> Crop:
        """Read "X,Y,SIZE", such as "420,0,1080". Raise RequestError on anything else."""
        parts = text.split(",")
        if len(parts) != 3 or not all(_is_number(part) for part in parts):
            raise RequestError(
                f"{text!r} is not a crop; write X,Y,SIZE in pixels, such as 420,0,1080, or {CENTRE}."
            )
        crop = cls(*(int(part) for part in parts))
        if crop.size < SMALLEST:
            raise RequestError(f"The crop {text!r} is too small; use a size of at least {SMALLEST} pixels.")
        return crop

    def begin(self, pictures: Iterable[Pictures]) -> None:
        """See `Framing`: this square was given, so it looks at no picture."""

    def apply(self, picture: Pictures, seconds: float = 0.0, side: int = SIZE) -> Pictures:  # noqa: ARG002
        """Cut this square out of `picture` (H, W, 3), uint8 RGB, and scale it to (side, side, 3).

        Raises RequestError where the square reaches out of the picture.
        """
        height, width = picture.shape[:2]
        if self.x + self.size > width or self.y + self.size > height:
            raise RequestError(
                f"The crop {self} reaches outside of the picture, which is {width}x{height}; "
                f"give X,Y,SIZE inside of it, such as {centre_square(width, height)}."
            )
        return cut(picture, self.x, self.y, self.size, side)

    def cut(self) -> None:
        """See `Framing`: it stays."""

    @property
    def jumps(self) -> int:
        """It never does."""
        return 0

    def __str__(self) -> str:
        return f"{self.x},{self.y},{self.size}"


class CentreSquare:
    """The largest square in the middle of every picture, whatever its size; see `Framing`."""

    def begin(self, pictures: Iterable[Pictures]) -> None:
        """Look at no picture."""

    def apply(self, picture: Pictures, seconds: float = 0.0, side: int = SIZE) -> Pictures:
        """Cut it out of `picture` (H, W, 3), uint8 RGB, and scale it to (side, side, 3)."""
        return centre_square(picture.shape[1], picture.shape[0]).apply(picture, seconds, side)

    def cut(self) -> None:
        """See `Framing`: it stays."""

    @property
    def jumps(self) -> int:
        """It never does."""
        return 0


class Holding:
    """`framing` over all that comes, whatever its size and scene.

    Squares are `side` pixels large. Where a picture comes in midway that it has no square of, the last one
    stands. With `denoise`, squares are given with less noise.
    """

    def __init__(self, framing: Framing, denoise: bool = False, side: int = SIZE) -> None:
        self._framing, self._side = framing, side
        self._denoiser = Denoiser() if denoise else None
        self._cuts, self._seen = Cuts(), 0
        self._last: Pictures | None = None
        self._said = False

    def begin(self, pictures: Iterable[Pictures]) -> None:
        """See `Framing`."""
        self._framing.begin(pictures)

    def apply(self, picture: Pictures, seconds: float = 0.0) -> Pictures:
        """Return the square of `picture`, or the last; RequestError where the first already has none."""
        before = self.scene
        if self._cuts.is_cut(picture):
            self._seen += 1
            self._framing.cut()
        try:
            square = self._framing.apply(picture, seconds, self._side)
            if self._denoiser is not None and self.scene != before:
                self._denoiser.renew()
            self._last = square if self._denoiser is None else self._denoiser.apply(square)
        except RequestError as error:
            if self._last is None:
                raise
            if not self._said:
                _log.warning("The picture is frozen: %s", error)
            self._said = True
        else:
            self._said = False
        return self._last

    @property
    def scene(self) -> int:
        """A number that rises where what is sent becomes another scene, by a cut or a jump of the square."""
        return self._seen + self._framing.jumps


def parse_crop(text: str) -> Framing:
    """Read "centre", or X,Y,SIZE as `Crop.parse` does. Raise RequestError on anything else."""
    return CentreSquare() if text == CENTRE else Crop.parse(text)


def centre_square(width: int, height: int) -> Crop:
    """Return the largest square in the middle of a picture of `width` x `height` pixels."""
    size = min(width, height)
    return Crop((width - size) // 2, (height - size) // 2, size)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
