"""`python -m models.training COMMAND`: everything that is learned is learned here."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from models.gpu import gpu_failures_explained
from models.training.backbones import backbone_command as backbone
from models.training.codec_tables import codec_command as codec
from models.training.data import drawn, extract
from models.training.data import landmarks_command as landmarks
from models.training.forecasters import forecaster_command as forecaster
from models.training.heads import head_command as head
from models.training.rehearsal import rehearse_command as rehearse
from models.training.rehearsal import verify_command as verify
from shared.runtime.command import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the training commands and return its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m models.training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what, add_arguments, run in (
        ("backbone", "train the lite motion-transfer network", backbone.add_arguments, backbone.train),
        ("tracks", "detect the keypoints of whole clips", extract.add_arguments, extract.extract),
        ("forecaster", "train a forecaster on tracks", forecaster.add_arguments, forecaster.train),
        ("codec", "fit the tables of the coded profile", codec.add_arguments, codec.train),
        ("landmarks", "find lips, lids and more in clips", landmarks.add_arguments, landmarks.find),
        ("drawn", "draw synthetic people to train on", drawn.add_arguments, drawn.draw),
        ("head", "train the head finder for automatic framing", head.add_arguments, head.train),
        ("verify", "compare this machine's networks with a CPU's", verify.add_arguments, verify.verify),
        ("rehearse", "verify, then train within minutes", rehearse.add_arguments, rehearse.rehearse),
    ):
        command = commands.add_parser(name, help=what, description=what)
        add_arguments(command)
        command.add_argument("--debug", action="store_true", help="show tracebacks")
        command.set_defaults(run=run)
    options = parser.parse_args(argv)

    def work() -> int:
        with gpu_failures_explained("use a smaller --batch, or --device cpu"):
            return int(options.run(options))

    return run_command(work, options.debug)


if __name__ == "__main__":
    sys.exit(main())
