"""What the parts of a call ask of each other. Everything here is implemented elsewhere and faked in tests."""

from __future__ import annotations

from typing import Protocol

from shared.keypoints import Floats, Pictures


class Backbone(Protocol):
    """A motion-transfer network: NumPy outside, the network inside. Not thread-safe; one thread owns it."""

    name: str
    fingerprint: str

    def detect(self, frames: Pictures) -> Floats:
        """Return the keypoints (B, 60) of `frames` (B, 256, 256, 3), uint8 RGB."""
        ...

    def set_source(self, image: Pictures) -> Floats:
        """Encode the source picture (256, 256, 3) once and return its keypoints (60,)."""
        ...

    def render(self, keypoints: Floats) -> Pictures:
        """Render the source picture at `keypoints` (B, 60): (B, 256, 256, 3), uint8 RGB."""
        ...

    def warmup(self) -> None:
        """Run every path once, so that the first real frame is not slow."""
        ...


class Forecaster(Protocol):
    """Predicts keypoints from the past. State is explicit: `reset`, then `observe`, then ask."""

    name: str

    def reset(self) -> None:
        """Forget everything observed."""
        ...

    def observe(self, frames: Floats) -> None:
        """Take in consecutive frames (T, 60), T >= 1, that follow what was observed before."""
        ...

    def forecast(self, steps: int) -> Floats:
        """Return the most likely next frames (steps, 60); the state does not change."""
        ...

    def sample(self, count: int, steps: int, seed: int) -> Floats:
        """Return `count` possible futures (count, steps, 60); the state does not change."""
        ...
