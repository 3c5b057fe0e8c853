"""From observed keypoints to a picture: fill, transfer, render. Owned by the inference thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter

from receiver.fill import Filler, Kind
from shared.interfaces import Backbone
from shared.keypoints import Floats, Pictures, relative
from shared.stats import StageTimes


@dataclass(frozen=True, eq=False)
class Rendered:
    """One picture (256, 256, 3) and where its keypoints come from."""

    picture: Pictures
    kind: Kind


class Renderer:
    """Renders any frame number asked for, from whatever has been observed.

    With an avatar, the source picture is the receiver's own and motion is transferred relative to the first frame
    observed; without one, keypoints are the sender's own and drive the sender's picture.
    """

    def __init__(self, backbone: Backbone, filler: Filler, avatar: Pictures | None = None) -> None:
        self._backbone = backbone
        self._filler = filler
        self._avatar_points = backbone.set_source(avatar) if avatar is not None else None
        self._initial: Floats | None = None
        self.stages = StageTimes()

    def set_source(self, picture: Pictures) -> None:
        """Take the sender's picture."""
        self._backbone.set_source(picture)

    def render(self, number: int, observed: Mapping[int, Floats]) -> Rendered | None:
        """Take in newly observed frames (60,) by number and render frame `number`; None before the first."""
        start = perf_counter()
        self._filler.observe(observed)
        filled = self._filler.fill(number)
        if filled is None:
            return None
        points = filled.keypoints[None]
        if self._avatar_points is not None:
            if self._initial is None:
                self._initial = filled.keypoints
            points = relative(self._avatar_points, points, self._initial)
        middle = perf_counter()
        picture = self._backbone.render(points)[0]
        self.stages.add("forecast", middle - start)
        self.stages.add("render", perf_counter() - middle)
        return Rendered(picture, filled.kind)
