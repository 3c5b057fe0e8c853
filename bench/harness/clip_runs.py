"""Iteration over clips that a broken one does not stop, with each result put where it belongs."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from tqdm import tqdm

from bench.harness.clip_set import ClipError
from bench.harness.media import write_file
from bench.harness.report import Report, Row, Value
from shared.errors import RequestError
from shared.runtime.command import INTERRUPTED

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
Table = tuple[str, Sequence[Row], Sequence[str]]
log = logging.getLogger(__name__)


@dataclass
class Pass(Generic[ResultT]):
    """Outcome of going through a list: the results, how many items were skipped, whether it was stopped."""

    results: list[ResultT] = field(default_factory=list)
    skipped: int = 0
    stopped: bool = False


@dataclass(frozen=True)
class Findings:
    """All that a measurement says. `pictures` draws PNGs by file name; only asked where they are kept."""

    name: str
    rows: Sequence[Row]
    tables: Sequence[Table]
    lines: Sequence[str]
    meta: Mapping[str, Value]
    pictures: Callable[[], dict[str, bytes]]
    stopped: bool


def each(items: Sequence[ItemT], label: str, unit: str, work: Callable[[ItemT], ResultT]) -> Pass[ResultT]:
    """Do `work` for each of `items` under a progress bar, skipping with a warning what raises ClipError.

    Ctrl-C ends it early with what there is. Raises KeyboardInterrupt where that is nothing, RequestError
    where every item had to be skipped.
    """
    done: Pass[ResultT] = Pass()
    try:
        for item in tqdm(items, desc=label, unit=unit, file=sys.stderr):
            try:
                done.results.append(work(item))
            except ClipError as error:
                log.warning("Skipped: %s", error)
                done.skipped += 1
    except KeyboardInterrupt:
        if not done.results:
            raise
        done.stopped = True
    if not done.results:
        raise RequestError("None of the clips could be measured; give folders with intact videos.")
    return done


def check_folder(folder: Path) -> None:
    """Make `folder` unless it is there. Raises RequestError where that fails or it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"Cannot create the folder {folder}: {error.strerror}; choose another.") from error
    if not os.access(folder, os.W_OK):
        raise RequestError(f"Cannot write to {folder}: permission denied; choose another folder.")


def publish(findings: Findings, json: Path | None, folder: Path | None) -> int:
    """Print `findings`, write the rows to `json` and all of it into `folder`; return the exit code."""
    report = Report(findings.name, findings.rows, (), findings.meta)
    text = _text(findings)
    print(f"\n{text}", flush=True)
    report.write(json)
    if folder is not None:
        report.write(folder / f"{findings.name}.json")
        write_file(folder / f"{findings.name}.md", f"{text}\n".encode())
        for name, data in findings.pictures().items():
            write_file(folder / name, data)
            print(f"wrote {folder / name}")
    if findings.stopped:
        print("stopped early: the figures cover only what was measured", file=sys.stderr)
        return INTERRUPTED
    return 0


def _text(findings: Findings) -> str:
    blocks = [
        f"{title}\n\n{Report(findings.name, rows, columns, findings.meta).table()}"
        for title, rows, columns in findings.tables
    ]
    return "\n\n".join([*blocks, "\n".join(f"- {line}" for line in findings.lines)])
