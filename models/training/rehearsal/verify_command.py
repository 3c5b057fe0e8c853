"""`python -m models.training verify`: does this machine compute what a CPU computes, and how fast?"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from models.devices import choose_device, reason_of
from models.training.rehearsal.machine_checks import CHECKS, Figures, Machine, shown
from models.training.run import positive_float
from shared.errors import KeycastError
from shared.runtime.command import add_device_argument

FAILED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add = parser.add_argument
    add_device_argument(parser)
    add("--fomm", type=Path, metavar="FILE", help="a published checkpoint (default: random weights)")
    add(
        "--seconds",
        type=positive_float,
        default=200.0,
        help="start no further check after this long (default: 200)",
    )
    add("--json", type=Path, metavar="FILE", help="write the figures as JSON, updated after each check")


def verify(options: argparse.Namespace) -> int:
    """Check, print a line for each, and return 1 where one has failed; RequestError without the device.

    A check that fails does not keep the others from being made. They run in a thread of their own, as the
    networks of a call do.
    """
    machine = Machine(choose_device(options.device), options.fomm)
    with ThreadPoolExecutor(1, "inference") as thread:
        return thread.submit(checked, machine, CHECKS, options.seconds, options.json).result()


def checked(
    machine: Machine,
    checks: Sequence[Callable[[Machine], Figures]],
    seconds: float,
    file: Path | None,
) -> int:
    """Make `checks` until `seconds` are over; return 1 where one has failed."""
    began, found = time.monotonic(), dict[str, Mapping[str, Any]]()
    for check in checks:
        name = check.__name__
        if time.monotonic() - began > seconds:
            found[name] = {"ok": None, "why": "there was no time left"}
        else:
            found[name] = _made(check, machine)
        _tell(name, found[name])
        _write(file, found)
    return FAILED if any(result["ok"] is False for result in found.values()) else 0


def _made(check: Callable[[Machine], Figures], machine: Machine) -> Mapping[str, Any]:
    begun = time.monotonic()
    try:
        figures = check(machine)
    except Exception as error:  # whatever it is, the other checks say more
        return {"ok": False, "why": reason_of(error)}
    return {"ok": True, "seconds": time.monotonic() - begun, **figures}


def _tell(name: str, result: Mapping[str, Any]) -> None:
    said = {True: "ok", False: "FAILED", None: "left out"}[result["ok"]]
    figures = {key: value for key, value in result.items() if key not in ("ok", "why", "seconds")}
    print(f"{name.replace('_', ' ')}: {said}: {result.get('why') or shown(figures)}", flush=True)


def _write(file: Path | None, found: Mapping[str, Mapping[str, Any]]) -> None:
    if file is None:
        return
    try:
        partial = file.with_name(f".{file.name}.part")
        partial.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        partial.replace(file)
    except OSError as error:
        raise KeycastError(f"Cannot write {file} ({error}); choose another --json.") from error
