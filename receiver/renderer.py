"""From observed keypoints to a picture: fill, transfer, render. Owned by the inference thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from receiver.gallery import Gallery
from shared.codec.quantization import MAX_MAGNITUDE
from shared.concealment import Ahead, Concealer, Kind
from shared.constants import FPS
from shared.interfaces import Backbone, Source, Transfer
from shared.keypoints import Floats, Pictures
from shared.runtime.stats import StageTimes

# Of the time that a frame usually takes to draw: about the last ten frames count.
_SMOOTHING = 0.1


@dataclass(frozen=True, eq=False)
class Rendered:
    """One picture (size, size, 3) and where its keypoints come from."""

    picture: Pictures
    kind: Kind


class Renderer:
    """Renders any frame number asked for, from whatever has been observed.

    `avatar` is the receiver's own picture, where it has one: motion is then transferred onto it relative to
    the first frame shown. Without it, keypoints are the sender's own and drive the nearest of the sender's
    pictures.
    """

    def __init__(self, backbone: Backbone, concealer: Concealer, avatar: Source | None = None) -> None:
        self._backbone = backbone
        self._concealer = concealer
        self._avatar = avatar
        self._sources: dict[int, Source] = {}
        self.gallery = Gallery(backbone.layout.distance)
        self._transfer: Transfer | None = None
        self._usual_seconds = 0.0
        self.stages = StageTimes()

    @property
    def size(self) -> int:
        """The side of the pictures that it takes and draws, in pixels."""
        return self._backbone.size

    def set_source(self, picture: Pictures, slot: int = 0, alone: bool = False) -> None:
        """Take a picture of the sender's into `slot`; where it is `alone`, all others are forgotten."""
        source = self._backbone.encode(picture)
        if alone:
            self._sources.clear()
            self.gallery.clear()
        self._sources[slot] = source
        self.gallery.put(slot, source.keypoints)

    def render(
        self, number: int, observed: Mapping[int, Floats], ahead: Ahead | None = None
    ) -> Rendered | None:
        """Take in newly observed frames (D,) by number and render frame `number`; None before the first.

        `ahead`: the next frame that is known before its moment.
        """
        start = perf_counter()
        self._concealer.observe(observed)
        filled = self._concealer.fill(number, ahead)
        if filled is None:
            return None
        points = (
            filled.keypoints if self._avatar is None else self._transferred(self._avatar, filled.keypoints)
        )
        middle = perf_counter()
        picture = self._drawn(points)
        self.stages.add("forecast", middle - start)
        self.stages.add("render", perf_counter() - middle)
        return Rendered(picture, filled.kind)

    def _drawn(self, points: Floats) -> Pictures:
        if self._avatar is not None:
            return self._from(self._avatar, points)
        choice = self.gallery.choose(points)
        picture = self._from(self._sources[choice.slot], points)
        if choice.before is None or not self._has_time_for_two:
            return picture
        return blended(picture, self._from(self._sources[choice.before], points), choice.share)

    @property
    def _has_time_for_two(self) -> bool:
        """Whether a frame can be drawn twice in its time; a machine that is too slow cuts instead."""
        return 2 * self._usual_seconds < 1 / FPS

    def _from(self, source: Source, points: Floats) -> Pictures:
        start = perf_counter()
        drawn: Pictures = self._backbone.render(source, points[None])[0]
        self._usual_seconds += _SMOOTHING * (perf_counter() - start - self._usual_seconds)
        return drawn

    def _transferred(self, avatar: Source, points: Floats) -> Floats:
        # A peer's first frame may hardly be invertible; what comes of it is limited to what networks take.
        with np.errstate(all="ignore"):
            if self._transfer is None:
                self._transfer = self._backbone.transfer(avatar, points)
            moved = self._transfer(points[None])[0]
        limited: Floats = np.nan_to_num(np.clip(moved, -MAX_MAGNITUDE, MAX_MAGNITUDE))
        return limited


def blended(picture: Pictures, other: Pictures, share: float) -> Pictures:
    """Return `share` (in [0, 1]) of `picture` and the rest of `other`, both uint8 of one shape."""
    mixed = share * picture.astype(np.float32) + (1 - share) * other
    return np.rint(mixed).astype(np.uint8)
