"""Common frame of every console command: one sentence for an error, one exit code, no traceback."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from shared.constants import BACKBONES, DEVICES
from shared.errors import KeycastError, described
from shared.runtime.console import printable
from shared.runtime.logs import debug_log

FAILED = 1
INTERRUPTED = 130


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--backbone`, `--checkpoint` and `--device`, which mean the same in every command."""
    add = parser.add_argument
    add("--backbone", choices=BACKBONES, help="default: one that runs in real time on this machine")
    add("--checkpoint", type=Path, metavar="PATH", help="weights to use instead of the shipped ones")
    add_device_argument(parser)


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """Declare `--device`. Apple's "mps" gets a sentence of its own where devices are chosen."""
    parser.add_argument(
        "--device", choices=(*DEVICES, "mps"), default="auto", metavar=f"{{{','.join(DEVICES)}}}",
        help="default: a GPU if there is one that works",
    )  # fmt: skip


def add_call_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what both ends of a call take: the network's arguments, `--threads`, `--stats` and more."""
    add_network_arguments(parser)
    add = parser.add_argument
    # One: with two for the receiver, a call on two cores showed 19-20 fps in time instead of 30.
    add("--threads", type=int, default=1, metavar="N", help="CPU threads for the networks (default 1)")
    figures = "write statistics to FILE as JSON lines: one each second, and a summary at the end of each call"
    add("--stats", type=Path, metavar="FILE", help=figures)
    plain = "use aiortc's own acknowledgements and encryption, at the cost of more bytes on the wire"
    add("--no-compact-transport", dest="compact", action="store_false", help=plain)
    debug = "log what happens in the call to stderr, as KEYCAST_LOG=debug does, and show tracebacks"
    add("--debug", action="store_true", help=debug)


def run_command(main: Callable[[], int], debug: bool) -> int:
    """Run `main` and return the exit code of the command.

    A KeycastError is printed as its own sentence and gives its `exit_code`; Ctrl-C gives 130; a reader that
    closed our output (`| head`) gives 1 in silence; anything else is a fault of ours, named as such, and
    gives 1. `debug` prints the traceback before the sentence, and has the call's log go to stderr. SIGTERM
    does as Ctrl-C: containers and services stop with it. Each line leaves as it is printed, into a pipe or a
    log too, and in any encoding.
    """
    try:
        with _prepared(), debug_log(debug):
            code = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        _say("stopped", debug)
        return INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return FAILED
    except KeycastError as error:
        _say(f"error: {error}", debug)
        return error.exit_code
    except Exception as error:
        hint = "" if debug else "; run with --debug"
        _say(f"error: {described(error)} (internal{hint})", debug)
        return FAILED
    return code


@contextlib.contextmanager
def _prepared() -> Iterator[None]:
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Letters that its encoding lacks are escaped, as on stderr: no name or reason may end a command.
        sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Without a handler of its own, the first process of a container does not even notice.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _say(line: str, debug: bool) -> None:
    if debug:
        for told in traceback.format_exc().splitlines():
            print(printable(told), file=sys.stderr)
    print(printable(line), file=sys.stderr)


def _silence_stdout() -> None:
    """Point stdout at nothing, or the interpreter complains again when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
