"""Output of a measurement: a table on the screen, and the same rows as JSON for other programs."""

from __future__ import annotations

import json
import math
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from models.devices import choose_device, device_facts
from shared.errors import KeycastError, RequestError

Value = str | int | float | bool | None
Row = Mapping[str, Value]
ALL = "all"
"""Stands where a row names a person, and is of all of them."""


@dataclass(frozen=True)
class Report:
    """`rows` of one `command`, flat, keys in snake_case with their unit as suffix; `columns` are printed."""

    command: str
    rows: Sequence[Row]
    columns: Sequence[str]
    meta: Mapping[str, Value]

    def table(self) -> str:
        """Return the printed columns as an aligned Markdown table; what a row lacks stays empty."""
        cells = [list(self.columns), *([_shown(row.get(name)) for name in self.columns] for row in self.rows)]
        widths = [max(len(line[i]) for line in cells) for i in range(len(self.columns))]
        numeric = [
            all(not isinstance(row.get(name), (str, bool)) for row in self.rows) for name in self.columns
        ]
        lines = [_line(line, widths, numeric) for line in cells]
        rules = ["-" * (w - 1) + ":" if n else "-" * w for w, n in zip(widths, numeric, strict=True)]
        return "\n".join([lines[0], "| " + " | ".join(rules) + " |", *lines[1:]])

    def json(self) -> str:
        """Return {"meta": ..., "rows": ...}; NaN and infinity, which JSON lacks, become null."""
        return json.dumps(
            {"meta": _plain(self.meta), "rows": [_plain(row) for row in self.rows]}, indent=2, allow_nan=False
        )

    def publish(self, path: Path | None) -> None:
        """Print the table, and write the JSON to `path` unless it is None. Raises KeycastError."""
        print(self.table(), flush=True)
        self.write(path)

    def write(self, path: Path | None) -> None:
        """Write the JSON to `path` unless it is None. Raises KeycastError."""
        if path is not None:
            with replacing(path) as temporary:
                temporary.write_text(self.json() + "\n", encoding="utf-8")
            print(f"wrote {path}")


def describe(command: str, device: str, seed: int | None = None, **more: Value) -> dict[str, Value]:
    """Return what a report's `meta` holds in any case, and `more`.

    Of a GPU it also names the card, its driver and the builds of torch and CUDA; "auto" becomes what it is.
    """
    return {
        "command": command,
        "version": version("keycast"),
        **device_facts(choose_device(device) if device == "auto" else device),
        "seed": seed,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        **more,
    }


def check_output(path: Path) -> None:
    """Raise RequestError unless a file can be made at `path`; to be asked before long work, not after it."""
    if path.is_dir():
        raise RequestError(f"{path} is a folder; name a file in it.")
    if not path.parent.is_dir():
        raise RequestError(f"There is no folder {path.parent} to write {path.name} to; create it first.")
    if not os.access(path.parent, os.W_OK):
        raise RequestError(
            f"Cannot write to {path.parent}: permission denied; choose another place for {path.name}."
        )


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path next to `path`, with its suffix, that takes its place at the end of the block.

    Where the block fails, nothing is left behind and `path` stays as it was. OSError becomes KeycastError.
    """
    check_output(path)
    try:
        handle, name = tempfile.mkstemp(suffix=path.suffix, prefix=f".{path.stem}-", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise KeycastError(
            f"Writing {path} failed: {reason}; free some space or choose another place."
        ) from error


def _umask() -> int:
    """Return the process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _line(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    padded = [
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(cells, widths, numeric, strict=True)
    ]
    return "| " + " | ".join(padded) + " |"


def _shown(value: Value) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) >= 100 else f"{value:.4g}"
    return str(value).replace("|", "/").replace("\n", " ")


def _plain(row: Row) -> dict[str, Value]:
    return {key: _finite(value) for key, value in row.items()}


def _finite(value: Value) -> Value:
    """Return a plain JSON value; NumPy's float64 is a float already, and its others are not taken."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
