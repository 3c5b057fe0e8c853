"""Pose of a portrait at one moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pose:
    """Pose of the portrait at one moment: radians for the head, 0 to 1 for the face or as said."""

    yaw: float = 0.0
    """Positive: the nose moves to the right of the picture."""
    pitch: float = 0.0
    """Positive: the nose moves down."""
    roll: float = 0.0
    """Positive: clockwise in the picture."""
    sway: tuple[float, float] = (0.0, 0.0)
    mouth: float = 0.0
    smile: float = 0.0
    """-1 (pursed) to 1 (wide)."""
    blink: float = 0.0
    brows: float = 0.0
    """-1 (down) to 1 (raised)."""
    gaze: tuple[float, float] = (0.0, 0.0)
    """Where the eyes look, -1 to 1 each way: to the right of the picture, and down."""
