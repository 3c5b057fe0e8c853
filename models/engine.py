"""Interface of an engine that runs a network: NumPy arrays in and out, pictures as bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from shared.keypoints import Floats, Pictures

SourceT = TypeVar("SourceT")


@dataclass(frozen=True, eq=False)
class Encoded(Generic[SourceT]):
    """A source picture as one engine keeps it: `keypoints` (D,), and all that depends on the picture alone.

    Its side is `size`. What is kept was computed once, is used for every frame, and is looked into by
    `engine` alone. It is freed with this object.
    """

    engine: Engine
    keypoints: Floats
    kept: SourceT
    size: int


class Engine(Protocol):
    """One network on one device, in one precision: OpenVINO's graphs, torch, or CUDA graphs of torch.

    Thread-safe: an engine locks what cannot run side by side. Arguments have been checked.
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
    def processor(self) -> str:
        """What it computes on: "cpu" or "cuda"."""
        ...

    @property
    def size(self) -> int:
        """The side of the pictures that it detects in, in pixels."""
        ...

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sides of the source pictures that it takes, rising from `size`."""
        ...

    def detect(self, pictures: Pictures) -> Floats:
        """Return the keypoints (B, D) of pictures (B, size, size, 3), uint8 RGB."""
        ...

    def encode(self, picture: Pictures) -> Encoded[Any]:
        """Return what is kept of a source picture (S, S, 3), S being one of `sizes`."""
        ...

    def render(self, source: Encoded[Any], keypoints: Floats) -> Pictures:
        """Render a source of this engine's, of side S, at keypoints (B, D): (B, S, S, 3), uint8 RGB.

        They are written once, into memory that is the caller's.
        """
        ...
