"""Common base of all backbones: checks, and an engine that does the work."""

from __future__ import annotations

import numpy as np

from models.checks import check_keypoints, check_pictures
from models.engine import Encoded, Engine
from shared.errors import RequestError
from shared.interfaces import Source, Transfer
from shared.keypoints import Floats, KeypointLayout, Pictures
from shared.transfer import transfer_between


class EngineBackbone:
    """Implements `shared.interfaces.Backbone` on an engine."""

    name: str

    def __init__(
        self, engine: Engine, layout: KeypointLayout, fingerprint: str = "", detector: str | None = None
    ) -> None:
        self.layout = layout
        self.fingerprint = fingerprint
        self.detector = fingerprint if detector is None else detector
        self._engine = engine

    @property
    def engine(self) -> str:
        """What runs the network: "torch" or "openvino"."""
        return self._engine.name

    @property
    def precision(self) -> str:
        """The precision of the renderer's convolutions, such as "float32"."""
        return self._engine.precision

    @property
    def device(self) -> str:
        """Where the network runs: "cpu" or "cuda"."""
        return self._engine.processor

    @property
    def size(self) -> int:
        """The side of the pictures that it detects in, in pixels."""
        return self._engine.size

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sides of the source pictures that it takes, rising from `size`."""
        return self._engine.sizes

    def detect(self, frames: Pictures) -> Floats:
        """Return the keypoints (B, D) of `frames` (B, size, size, 3), uint8 RGB; RequestError on others."""
        check_pictures(frames, (self._engine.size,))
        return self._engine.detect(frames)

    def encode(self, picture: Pictures) -> Source:
        """Encode a source picture (S, S, 3), uint8 RGB, S being one of `sizes`; RequestError on others."""
        check_pictures(picture[None], self._engine.sizes)
        return self._engine.encode(picture)

    def render(self, source: Source, keypoints: Floats) -> Pictures:
        """Render `source`, of side S, at `keypoints` (B, D): (B, S, S, 3), uint8 RGB.

        Raises RequestError for a source that this network has not encoded as it runs now, and for keypoints
        that no frame can have.
        """
        if not isinstance(source, Encoded) or source.engine is not self._engine:
            raise RequestError("The source picture was encoded by another network; encode it with this one.")
        check_keypoints(keypoints, self.layout.dimensions)
        return self._engine.render(source, keypoints)

    def transfer(self, source: Source, initial: Floats, *, adapt_scale: bool = False) -> Transfer:
        """Return what carries motion since `initial` (D,) over to `source` (see `transfer_between`)."""
        return transfer_between(self.layout, source.keypoints, initial, adapt_scale=adapt_scale)

    def warmup(self, *, detect: bool = True, render: bool = True) -> None:
        """Run what will be used once: detection of frames, rendering.

        What is neither warmed up nor used is not even compiled where the engine compiles.
        """
        grey = np.full((self._engine.size, self._engine.size, 3), 128, np.uint8)
        if detect:
            self._engine.detect(grey[None])
        if render:
            source = self._engine.encode(grey)
            self._engine.render(source, source.keypoints[None])
