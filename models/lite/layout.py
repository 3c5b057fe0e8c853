"""The lite network's pictures and keypoints: ten points of a face with a 2x2 Jacobian each, 60 numbers."""

from __future__ import annotations

from shared.keypoints import KeypointLayout

SIZE = 256
"""The side of what it sees and draws, in pixels; of larger source pictures it adds the detail."""
COUNT = 10
LAYOUT = KeypointLayout.of_points(COUNT, jacobians=True)
POSITIONS = 2 * COUNT
"""Number of numbers for the places, which come first."""
DIMENSIONS = LAYOUT.dimensions
