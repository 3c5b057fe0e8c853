"""Interface of engines that draw pictures larger than a network's; see `models.lite.enlarging`."""

from __future__ import annotations

FLOW, ALPHA = "flow", "alpha"
"""Names of what is taken of a rendering: where its pixels come from, and how much of the frame that is."""
BRIGHTNESS = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in it (ITU-R BT.601)."""
