"""`python -m models.openvino`: write the graphs of a lite checkpoint next to its weights; calls load them.

To be run after each change of the weights or of the network's code. Without graphs of its weights a
checkpoint is converted anew in each call, which takes torch, seconds and memory.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from models.build import SHIPPED
from models.openvino.files import FOLDER
from shared.runtime.command import run_command


def parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    commands = argparse.ArgumentParser(
        prog="python -m models.openvino",
        description="Write a lite checkpoint's OpenVINO graphs beside its weights; calls then need no torch.",
    )
    add = commands.add_argument
    weights = "a checkpoint folder; default: the shipped weights"
    add("folder", type=Path, nargs="?", default=SHIPPED / "lite", metavar="FOLDER", help=weights)
    add("--calibrate", type=Path, action="append", default=[], metavar="CLIPS",
        help="also write rendering in int8, calibrated on this folder of clips (repeatable)")  # fmt: skip
    add("--debug", action="store_true", help="show tracebacks")
    return commands


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    given = parser().parse_args(arguments)
    return run_command(lambda: _run(given.folder, given.calibrate), given.debug)


def _run(folder: Path, calibrate: Sequence[Path]) -> int:
    from models.openvino.keep import has_int8, keep_graphs

    had_int8 = has_int8(folder)
    size, difference = keep_graphs(folder, calibrate)
    int8 = "" if difference.int8 is None else f"; in int8 by {difference.int8:.2f} levels in the mean"
    print(
        f"wrote {folder / FOLDER} ({size / 1e6:.1f} MB, differs from torch by at most "
        f"{difference.keypoints:.1e} in keypoints and {difference.levels} of 256 levels{int8})"
    )
    if had_int8 and difference.int8 is None:
        print("note: the int8 rendering graphs were removed; give --calibrate CLIPS to make them again")
    return 0


if __name__ == "__main__":
    sys.exit(main())
