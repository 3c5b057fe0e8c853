"""Baseline of a call without `--size` on the same screen: drawn at the network's size, and scaled up."""

from __future__ import annotations

import numpy as np

from shared.interfaces import Backbone, Source, Transfer
from shared.keypoints import Floats, Pictures
from shared.media.squares import scaled


class ScaledUp:
    """Implements `shared.interfaces.Backbone` on `backbone`, for pictures of `side` pixels."""

    def __init__(self, backbone: Backbone, side: int) -> None:
        self._backbone, self._side = backbone, side
        self.name = f"{backbone.name} at {backbone.size}, scaled up"
        self.fingerprint, self.detector = backbone.fingerprint, backbone.detector
        self.layout = backbone.layout

    @property
    def size(self) -> int:
        """The side of the pictures that it detects in, in pixels."""
        return self._backbone.size

    @property
    def sizes(self) -> tuple[int, ...]:
        """The one side of the source pictures that it takes."""
        return (self._side,)

    @property
    def engine(self) -> str:
        """What runs the network."""
        return self._backbone.engine

    @property
    def precision(self) -> str:
        """The precision of the renderer's convolutions."""
        return self._backbone.precision

    @property
    def device(self) -> str:
        """Where the network runs."""
        return self._backbone.device

    def detect(self, frames: Pictures) -> Floats:
        """Return the keypoints (B, D) of `frames` (B, size, size, 3), uint8 RGB."""
        return self._backbone.detect(frames)

    def encode(self, picture: Pictures) -> Source:
        """Encode a source picture (side, side, 3), uint8 RGB, scaled down."""
        return self._backbone.encode(scaled(picture, self._backbone.size))

    def render(self, source: Source, keypoints: Floats) -> Pictures:
        """Render `source` at `keypoints` (B, D) and scale up: (B, side, side, 3), uint8 RGB."""
        return np.stack([scaled(drawn, self._side) for drawn in self._backbone.render(source, keypoints)])

    def transfer(self, source: Source, initial: Floats, *, adapt_scale: bool = False) -> Transfer:
        """Return what carries motion since `initial` (D,) over to `source`."""
        return self._backbone.transfer(source, initial, adapt_scale=adapt_scale)

    def warmup(self, *, detect: bool = True, render: bool = True) -> None:
        """Run what will be used once."""
        self._backbone.warmup(detect=detect, render=render)
