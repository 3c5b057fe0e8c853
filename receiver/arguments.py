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
    keep = "record the video, one call after another: .mp4, or .npy for lossless frames; repeatable"
    add("--output", type=Path, metavar="FILE", action="append", default=[], help=keep)
    camera = "also act as a camera for other programs: the first one found, or one such as /dev/video9"
    add("--virtual-camera", nargs="?", const="", metavar="DEVICE", help=camera)
    wide = "WIDTHxHEIGHT, such as 1280x720, with the picture in the middle; default: the size of the call"
    add("--virtual-camera-size", metavar="SIZE", help=wide)
    ear = "sound output device, by number or name, or none; default: the system's, unless nothing is viewed"
    add("--speaker", metavar="NAME", help=ear)
    add("--avatar", type=Path, metavar="IMAGE", help="animate this picture instead of the other side's")
    best = f"fills in missing frames; default: {BEST} if its weights fit the backbone, else {FALLBACK}"
    add("--forecaster", choices=NAMES, help=best)
    delay = "minimum playout delay (default 50); from 200 on, skipped frames are interpolated"
    add("--playout-delay", type=float, default=50.0, metavar="MS", help=delay)


def camera_size(given: argparse.Namespace) -> tuple[int, int] | None:
    """Return the size of the virtual camera that is asked for; None for that of the call's pictures.

    Raise RequestError where it is none, or there is no virtual camera.
    """
    from receiver.sinks.virtual_camera import parse_size

    if given.virtual_camera_size is None:
        return None
    if given.virtual_camera is None:
        raise RequestError("--virtual-camera-size needs a virtual camera; add --virtual-camera.")
    return parse_size(given.virtual_camera_size)
