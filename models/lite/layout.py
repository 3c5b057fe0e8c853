"""The lite network's keypoints: ten points of a face with a 2x2 Jacobian each, 60 numbers a frame."""

from __future__ import annotations

from shared.keypoints import KeypointLayout

COUNT = 10
LAYOUT = KeypointLayout.of_points(COUNT, jacobians=True)
POSITIONS = 2 * COUNT
"""How many numbers the places are, which come first."""
DIMENSIONS = LAYOUT.dimensions
