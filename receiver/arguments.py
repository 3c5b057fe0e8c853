"""Command-line arguments for showing what comes, shared by the receiver and the sender of a two-way call."""

from __future__ import annotations

import argparse
from pathlib import Path

from models.forecast.names import BEST, FALLBACK, NAMES
from shared.errors import RequestError

SHOWING_NAMES = ("virtual_camera_size", "speaker", "avatar", "forecaster", "playout_delay")
"""Arguments that say how something is shown, not that it is."""


def add_showing_arguments(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Declare the arguments, from `--output` to `--playout-delay`."""
    add = parser.add_argument
    keep = "keep the video, calls after each other: .mp4, or .npy for pictures without loss; repeatable"
    add("--output", type=Path, metavar="FILE", action="append", default=[], help=keep)
    camera = "also be a camera for other programs: the first there is, or such as /dev/video9"
    add("--virtual-camera", nargs="?", const="", metavar="DEVICE", help=camera)
    wide = "of WIDTHxHEIGHT, such as 1280x720, the picture in the middle; default: as large as the call's"
    add("--virtual-camera-size", metavar="SIZE", help=wide)
    ear = "the device that plays sound: its number or name, or none; default: any, unless nothing is viewed"
    add("--speaker", metavar="NAME", help=ear)
    add("--avatar", type=Path, metavar="IMAGE", help="animate this picture instead of the other side's")
    best = f"fills in missing frames; default: {BEST} where its weights fit the backbone's, else {FALLBACK}"
    add("--forecaster", choices=NAMES, help=best)
    delay = "least time for jitter and drawing (default 50); from 200 on, skipped frames are interpolated"
    add("--playout-delay", type=float, default=50.0, metavar="MS", help=delay)


def camera_size(given: argparse.Namespace) -> tuple[int, int] | None:
    """Return the size of the virtual camera that is asked for; None for that of the call's pictures.

    Raise RequestError where it is none, or there is no virtual camera.
    """
    from receiver.sinks.virtual_camera import parse_size

    if given.virtual_camera_size is None:
        return None
    if given.virtual_camera is None:
        raise RequestError("There is no virtual camera to be of that size; add --virtual-camera.")
    return parse_size(given.virtual_camera_size)
