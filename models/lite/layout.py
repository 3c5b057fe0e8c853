"""The lite network's pictures and keypoints: ten points of a face with a 2x2 Jacobian each, 60 numbers."""

from __future__ import annotations

from shared.keypoints import KeypointLayout

SIZE = 256
"""The side of what it sees and draws, in pixels; of larger source pictures it adds the detail."""
FLOW, ALPHA = "flow", "alpha"
"""Names of what a larger picture takes of a rendering, see `models.lite.structures.Rendered`."""
BRIGHTNESS = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in it (ITU-R BT.601)."""
COUNT = 10
LAYOUT = KeypointLayout.of_points(COUNT, jacobians=True)
POSITIONS = 2 * COUNT
"""Number of numbers for the places, which come first."""
DIMENSIONS = LAYOUT.dimensions
