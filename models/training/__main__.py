"""The training commands."""

from __future__ import annotations

import argparse
import logging
import sys

from models.training import backbone
from shared.errors import KeycastError


def main() -> int:
    """Run `python -m models.training COMMAND ...`."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m models.training")
    commands = parser.add_subparsers(dest="command", required=True)
    backbone.add_arguments(commands.add_parser("backbone", help="train the lite motion-transfer network"))
    options = parser.parse_args()
    try:
        return backbone.train(options)
    except KeycastError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
