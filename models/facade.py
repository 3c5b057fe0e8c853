"""What all backbones have in common: checks, slots for source pictures, and an engine that does the work."""

from __future__ import annotations

from typing import Generic

import numpy as np

from models.checks import check_keypoints, check_pictures
from models.engine import Engine, SourceT
from shared.config import MAX_PICTURES
from shared.errors import KeycastError, RequestError
from shared.keypoints import Floats, KeypointLayout, Pictures


class EngineBackbone(Generic[SourceT]):
    """Implements `shared.interfaces.Backbone` on an engine. One thread owns it."""

    name: str

    def __init__(
        self,
        engine: Engine[SourceT],
        layout: KeypointLayout,
        fingerprint: str = "",
        detector: str | None = None,
    ) -> None:
        self.layout = layout
        self.fingerprint = fingerprint
        self.detector = fingerprint if detector is None else detector
        self._engine = engine
        self._sources: dict[int, SourceT] = {}

    @property
    def engine(self) -> str:
        """What runs the network: "torch" or "openvino"."""
        return self._engine.name

    @property
    def precision(self) -> str:
        """The precision of the renderer's convolutions, such as "float32"."""
        return self._engine.precision

    def detect(self, frames: Pictures) -> Floats:
        """Return the keypoints (B, D) of `frames` (B, 256, 256, 3), uint8 RGB; RequestError on others."""
        check_pictures(frames, self._engine.size)
        return self._engine.detect(frames)

    def set_source(self, image: Pictures, slot: int = 0) -> Floats:
        """Encode a source picture (256, 256, 3), uint8 RGB, once and return its keypoints (D,).

        What is kept of it takes the place of what `slot`, 0 to 7, held before; RequestError for another slot.
        """
        if not 0 <= slot < MAX_PICTURES:
            raise RequestError(f"There is no slot {slot} for a source picture; use 0 to {MAX_PICTURES - 1}.")
        check_pictures(image[None], self._engine.size)
        self._sources[slot], keypoints = self._engine.encode(image)
        return keypoints

    def render(self, keypoints: Floats, slot: int = 0) -> Pictures:
        """Render the source picture in `slot` at `keypoints` (B, D): (B, 256, 256, 3), uint8 RGB.

        Raises KeycastError before `set_source`, RequestError for keypoints that no frame can have.
        """
        source = self._sources.get(slot)
        if source is None:
            raise KeycastError("There is no source picture to render yet; set one first.")
        check_keypoints(keypoints, self.layout.dimensions)
        return self._engine.render(source, keypoints)

    def warmup(self, *, detect: bool = True, render: bool = True) -> None:
        """Run what will be used once: detection of frames, rendering; the source pictures that are set stay.

        What is neither warmed up nor used is not even compiled where the engine compiles.
        """
        grey = np.full((self._engine.size, self._engine.size, 3), 128, np.uint8)
        if detect:
            self._engine.detect(grey[None])
        if render:
            source, keypoints = self._engine.encode(grey)
            self._engine.render(source, keypoints[None])
