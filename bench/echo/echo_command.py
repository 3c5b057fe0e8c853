"""`bench echo`: what the echo canceller takes away, and what it leaves of the near voice.

Two made-up voices, a made-up room, a loudspeaker and a microphone whose clocks, blocks and callbacks differ,
in virtual time: the same figures on every machine, but for the processor's time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.echo.cases import CASES
from bench.echo.measure import measured
from bench.harness.report import Report, Row, check_output, describe
from shared.errors import RequestError

COLUMNS = (
    "case", "echo_lowered_db", "worst_second_db", "lowered_in_s", "again_in_s", "near_level_db",
    "near_correlation", "near_si_sdr_db", "before_si_sdr_db", "noise_lowered_db", "voice_raised_db",
    "drift_ppm", "processor_ms_per_s",
)  # fmt: skip
_MIN_SECONDS = 12.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add = parser.add_argument
    add("--seconds", type=float, default=30.0, help="length of each case (default 30)")
    add("--seed", type=int, default=0, help="random seed for rooms, noise and late callbacks (default 0)")
    add("--json", type=Path, metavar="FILE", help="write the report as JSON")


def run(options: argparse.Namespace) -> int:
    """Measure every case, print and write the report. Returns the exit code."""
    if not _MIN_SECONDS <= options.seconds < float("inf"):
        raise RequestError(f"A case needs at least {_MIN_SECONDS:g} seconds; give more --seconds.")
    if options.json is not None:
        check_output(options.json)
    rows: list[Row] = []
    for case in CASES:
        print(f"measuring: {case.name} ...", flush=True)
        rows.append({"case": case.name, **measured(case, options.seconds, options.seed)})
    note = "levels from 2 s on; near voices beside the same processing without echo"
    meta = describe("echo", "cpu", options.seed, seconds=options.seconds, note=note)
    Report("echo", rows, COLUMNS, meta).publish(options.json)
    return 0
