"""What runs a network: NumPy arrays in and out, pictures as bytes."""

from __future__ import annotations

from typing import Protocol, TypeVar

from shared.keypoints import Floats, Pictures

SourceT = TypeVar("SourceT")


class Engine(Protocol[SourceT]):
    """One network on one device, in one precision. Not thread-safe; one thread owns it.

    `SourceT` is all that depends on a source picture alone: computed once, used for every frame, and looked
    into by nobody else. `size` is the side of all pictures. Arguments have been checked.
    """

    @property
    def name(self) -> str:
        """What computes: "torch" or "openvino"."""
        ...

    @property
    def precision(self) -> str:
        """The precision of the renderer's convolutions, such as "float32"; keypoints are float32 always."""
        ...

    @property
    def size(self) -> int:
        """The side of all pictures, in pixels."""
        ...

    def detect(self, pictures: Pictures) -> Floats:
        """Return the keypoints (B, D) of pictures (B, size, size, 3), uint8 RGB."""
        ...

    def encode(self, picture: Pictures) -> tuple[SourceT, Floats]:
        """Return what is kept of a source picture (size, size, 3), and its keypoints (D,)."""
        ...

    def render(self, source: SourceT, keypoints: Floats) -> Pictures:
        """Render a source at keypoints (B, D): pictures (B, size, size, 3), uint8 RGB."""
        ...
