"""`bench survive`: what is left of a call on bad networks, and how soon it is back after a cut or a crash.

Each condition is a real call of two processes over an impaired path, one after the other. Conditions begin
with the first picture shown, on a path that was good until then. MAE is that of the frames shown against the
source's own, `mae_clean` that of the same frames in the clean call. `longest_freeze_ms` is the longest time
between two frames handed on, `longest_held_ms` the longest that the picture stood still since forecasts had
run out. `recovery_ms` counts from the end of a cut, or from when a killed side is up again, to the first
frame shown that was really sent.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bench.calls.survive_report import COLUMNS, FAILED, FRAMES, SENT, chart, lines
from bench.harness.calls import Call, add_call_arguments, call_row
from bench.harness.clip_runs import Findings, Table, check_folder, publish
from bench.harness.disturbed import Disturbed, Step, run_disturbed
from bench.harness.metrics import mae
from bench.harness.plots import check_plots
from bench.harness.report import Row, Value, check_output, describe
from bench.network.impairment import PathImpairment
from shared.clock import elapsed_ms
from shared.errors import KeycastError, RequestError

SECONDS = 20.0
_BEGIN = 4.0
_MIN_RECOVERY_SECONDS = 2.0


@dataclass(frozen=True)
class Condition:
    """Conditions of a call: `path` from the first picture on, and `steps`."""

    title: str
    path: str = ""
    steps: tuple[Step, ...] = ()

    @property
    def script(self) -> tuple[Step, ...]:
        """All that happens, in order."""
        return (*([Step(0.0, PathImpairment.parse(self.path))] if self.path else []), *self.steps)

    @property
    def ends_in_recovery(self) -> bool:
        """Whether the last step is one that the call has to recover after."""
        return bool(self.steps)


def _cut(seconds: float) -> tuple[Step, ...]:
    return Step(_BEGIN, PathImpairment(loss=100)), Step(_BEGIN + seconds, PathImpairment())


CONDITIONS = {
    "clean": Condition("clean"),
    "loss5": Condition("5 % loss", "loss=5"),
    "loss10": Condition("10 % loss", "loss=10"),
    "loss20": Condition("20 % loss", "loss=20"),
    "loss40": Condition("40 % loss", "loss=40"),
    "bursts20": Condition("20 % loss in bursts of 5", "burst=20"),
    "jitter200": Condition("0-200 ms jitter", "jitter=200"),
    "rtt200loss20": Condition("200 ms round trip, 20 % loss", "delay=100,loss=20"),
    "cut1": Condition("1 s cut", steps=_cut(1.0)),
    "cut3": Condition("3 s cut", steps=_cut(3.0)),
    "rate20": Condition("20 kbps bottleneck", "rate=20"),
    "receiver-restart": Condition("receiver killed and restarted", steps=(Step(_BEGIN, "receiver"),)),
    "sender-restart": Condition("sender killed and restarted", steps=(Step(_BEGIN, "sender"),)),
}


@dataclass(frozen=True)
class Outcome:
    """A condition's row, and the error of each frame shown (MAE by number)."""

    row: Row
    errors: dict[int, float]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_call_arguments(parser)
    add = parser.add_argument
    add("--conditions", metavar="NAMES", help=f"comma-separated, from {', '.join(CONDITIONS)}; default: all")
    add("--playout-delay", type=float, metavar="MS", help="playout delay of the receiver")
    add("--seed", type=int, default=0, help="of the path's random impairments")
    add("--json", type=Path, metavar="FILE", help="write the rows as JSON")
    add("--report", type=Path, metavar="FOLDER", help="write the table and a chart here")


def run(options: argparse.Namespace) -> int:
    """Run the calls, print the table, write what was asked for. Returns the exit code."""
    names = _chosen(options.conditions)
    options.seconds = SECONDS if options.seconds is None else options.seconds
    _check_seconds(options.seconds, names)
    options.loop = True
    if options.json is not None:
        check_output(options.json)
    if options.report is not None:
        check_folder(options.report)
        check_plots()
    Call(options).check()
    rows, stopped = _measured(options, names)
    meta = describe("survive", options.device, options.seed, source=options.source, seconds=options.seconds)
    which = ("direction",) if options.two_way else ()
    tables: list[Table] = [
        (title, rows, (columns[0], *which, *columns[1:]))
        for title, columns in (
            ("How calls held up", COLUMNS), ("Frames", FRAMES), ("Messages", SENT)
        )
    ]  # fmt: skip
    failed = [row for row in rows if "failed" in row]
    if failed:
        tables.append(("Calls that failed", failed, FAILED))
    pictures = {"survive.png": chart(rows)} if options.report is not None else {}
    findings = Findings("survive", rows, tables, lines(rows), meta, lambda: pictures, stopped)
    return publish(findings, options.json, options.report)


def _chosen(text: str | None) -> list[str]:
    """Return the conditions to measure; the clean call, which the others are held against, comes first."""
    names = [name.strip() for name in text.split(",")] if text is not None else list(CONDITIONS)
    for name in names:
        if name not in CONDITIONS:
            raise RequestError(f"There is no condition {name!r}; choose from {', '.join(CONDITIONS)}.")
    return list(dict.fromkeys(["clean", *names]))


def _check_seconds(seconds: float, names: Sequence[str]) -> None:
    last = max((step.at for name in names for step in CONDITIONS[name].script), default=0.0)
    if not last + _MIN_RECOVERY_SECONDS <= seconds:
        raise RequestError(
            f"Calls of {seconds:g} seconds end before they could recover; give --seconds "
            f"{last + _MIN_RECOVERY_SECONDS:g} or more."
        )


def _measured(options: argparse.Namespace, names: Sequence[str]) -> tuple[list[Row], bool]:
    """Return a row for each condition; stopped early, those that there are, and True."""
    rows: list[Row] = []
    clean: dict[str, dict[int, float]] = {}
    try:
        for name in tqdm(names, desc="conditions", unit="call", file=sys.stderr):
            for direction, outcome in _outcomes(options, name, clean).items():
                clean.setdefault(direction, outcome.errors)
                rows.append(outcome.row)
    except KeyboardInterrupt:
        if not rows:
            raise
        return rows, True
    return rows, False


def _outcomes(
    options: argparse.Namespace, name: str, clean: Mapping[str, dict[int, float]]
) -> dict[str, Outcome]:
    """Run one condition's call; return what came of each direction. One that fails is a row too: why."""
    condition = CONDITIONS[name]
    first: dict[str, Value] = {"condition": condition.title, "name": name}
    call = Call(options)
    with tempfile.TemporaryDirectory(prefix="keycast-") as folder:
        try:
            disturbed = _run(options, call, condition, Path(folder))
        except KeycastError as error:
            if name == "clean":
                raise
            return {"forth": Outcome({**first, "failed": str(error)}, {})}
        return {
            direction: _outcome(
                {**first, **({"direction": direction} if options.two_way else {})},
                sent, replace(disturbed, record=record), condition, clean.get(direction),
            )
            for direction, sent, record in call.directions(disturbed.record)
        }  # fmt: skip


def _outcome(
    first: dict[str, Value],
    call: Call,
    disturbed: Disturbed,
    condition: Condition,
    clean: Mapping[int, float] | None,
) -> Outcome:
    record = disturbed.record
    errors = {number: mae(source, received) for number, source, received, _ in call.pairs(record)}
    clean = errors if clean is None else clean
    common = sorted(errors.keys() & clean.keys())
    row: dict[str, Value] = {**first, **call_row(record)}
    row["mae"] = float(np.mean(list(errors.values())))
    row["mae_clean"] = float(np.mean([clean[number] for number in common])) if common else None
    row["recovery_ms"] = recovery_ms(disturbed) if condition.ends_in_recovery else None
    row["late_frames"] = record.receiver["late_frames"]
    row |= {column: record.sender[column] for column in SENT[1:]}
    return Outcome(row, errors)


def _run(options: argparse.Namespace, call: Call, condition: Condition, folder: Path) -> Disturbed:
    receiver, sender = call.words()
    if options.playout_delay is not None:
        receiver += ["--playout-delay", str(options.playout_delay)]
        if options.two_way:
            sender += ["--playout-delay", str(options.playout_delay)]
    return run_disturbed(
        folder, receiver, sender, options.seconds, condition.script,
        seed=options.seed, two_way=options.two_way,
    )  # fmt: skip


def recovery_ms(disturbed: Disturbed) -> int | None:
    """Return the ms from the last step to the first frame shown that was sent; None where none was."""
    receiver = disturbed.record.receiver
    for (_, kind, _), moment in zip(receiver["shown"], receiver["shown_ms"], strict=True):
        passed = elapsed_ms(moment, disturbed.done_ms[-1])
        if kind == "observed" and passed >= 0:
            return passed
    return None
