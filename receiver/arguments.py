"""Command-line arguments for showing what comes, shared by the receiver and the sender of a two-way call."""

from __future__ import annotations

import argparse
from pathlib import Path

from models.forecast.names import BEST, FALLBACK, NAMES

SHOWING_NAMES = ("speaker", "avatar", "forecaster", "playout_delay")
"""Arguments that say how something is shown, not that it is."""


def add_showing_arguments(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Declare the arguments, from `--output` to `--playout-delay`."""
    add = parser.add_argument
    keep = "keep the video, calls after each other: .mp4, or .npy for pictures without loss; repeatable"
    add("--output", type=Path, metavar="FILE", action="append", default=[], help=keep)
    camera = "also be a camera for other programs: the first there is, or such as /dev/video9"
    add("--virtual-camera", nargs="?", const="", metavar="DEVICE", help=camera)
    ear = "the device that plays sound: its number or name, or none; default: any, unless nothing is viewed"
    add("--speaker", metavar="NAME", help=ear)
    add("--avatar", type=Path, metavar="IMAGE", help="animate this picture instead of the other side's")
    best = f"fills in missing frames; default: {BEST} where its weights fit the backbone's, else {FALLBACK}"
    add("--forecaster", choices=NAMES, help=best)
    delay = "least time for jitter and drawing (default 50); from 200 on, skipped frames are interpolated"
    add("--playout-delay", type=float, default=50.0, metavar="MS", help=delay)
