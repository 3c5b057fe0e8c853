"""Command-line arguments of `animate`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from animate.animation import Mode
from bench.forecast.forecasters import add_weights
from models.forecast.names import NAMES
from shared.constants import SIZES
from shared.runtime.command import add_network_arguments

ANGLES = ("yaw", "pitch", "roll")
MAX_DEGREES = 180


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    about = "`animate`: bring one picture to life with the motion of a video, offline."
    commands = argparse.ArgumentParser(prog="animate", description=about)
    _add_files(commands)
    _add_motion(commands)
    _add_forecasts(commands)
    larger = "width and height of --output in pixels; above 256, --source should be as large (default 256)"
    commands.add_argument("--size", type=int, choices=SIZES, help=larger)
    commands.add_argument(
        "--crop",
        metavar="X,Y,SIZE",
        help="the square of the driving video to use; default: around the head, as sender does",
    )
    add_weights(commands)
    add_network_arguments(commands)
    commands.add_argument(
        "--threads", type=int, help="CPU threads for the network; default: torch's own choice"
    )
    commands.add_argument("--debug", action="store_true", help="show tracebacks")
    return commands


def _add_files(commands: argparse.ArgumentParser) -> None:
    add = commands.add_argument
    add(
        "--source",
        metavar="FILE",
        help="a picture, or a video for its first frame; default: the driving video",
    )
    add("--driving", required=True, metavar="FILE", help="the video whose motion is used, or demo")
    add(
        "--output",
        type=Path,
        metavar="FILE",
        help="an .mp4, .webm or .gif, or an .npy of (T, 256, 256, 3) uint8; with --futures also a .png",
    )
    add("--no-audio", dest="audio", action="store_false", help="leave the driving video's sound out")


def _add_motion(commands: argparse.ArgumentParser) -> None:
    add = commands.add_argument
    add("--mode", choices=get_args(Mode), help="transfer (default with --source): motion relative to the "
        "--anchor; reconstruction: the driving keypoints as they are")  # fmt: skip
    add("--anchor", metavar="best|first|SECONDS", help="transfer: the driving frame that motion is relative "
        "to; best (default): the one whose pose is most like the source's")  # fmt: skip
    add("--absolute", action="store_true",
        help="move --source to the driving keypoints themselves: same as --mode reconstruction")  # fmt: skip
    add("--adapt-scale", action="store_true",
        help="transfer: scale motion by the ratio of the two keypoint areas, as FOMM does")  # fmt: skip
    for axis in ANGLES:
        add(f"--{axis}", type=float, metavar="DEGREES", help="nth: turn the driver's head by this much more")


def _add_forecasts(commands: argparse.ArgumentParser) -> None:
    add = commands.add_argument
    add("--forecaster", choices=NAMES, help="predict frames instead of detecting them")
    add(
        "--futures",
        type=int,
        metavar="N",
        help="write a grid of N futures drawn from the forecaster (default gru-nf) instead",
    )
    add(
        "--at",
        type=float,
        metavar="SECONDS",
        help="with --futures: when they begin; default: the middle",
    )
    add("--seed", type=int, default=0, help="with --futures: random seed (default 0)")
    add("--anomaly", type=Path, metavar="FILE.csv",
        help="write how surprising each driving frame is, and plot it in a .png next to it")  # fmt: skip
    add("--observe", type=int, help="with --forecaster: frames to detect before each forecast (default 6)")
    add("--predict", type=int, help="with --forecaster: frames to predict each time (default 6)")
    add("--mark", action="store_true", help="with --forecaster: label forecast frames in the picture")
