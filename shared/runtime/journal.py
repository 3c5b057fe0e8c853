"""A file of one JSON object a line, written while a command runs: a kill loses what is not yet a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from shared.errors import KeycastError
from shared.runtime.output_files import check_writable


class Journal:
    """Takes lines for `path`; without one, takes them for nothing.

    The file is made with the first line: a command that has nothing to say leaves an older file alone.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: TextIO | None = None
        self._failure: KeycastError | None = None

    def check(self) -> None:
        """Raise RequestError unless the file can be written."""
        if self._path is not None:
            check_writable(self._path)

    def write(self, event: str, values: Mapping[str, object]) -> None:
        """Add the line {"event": `event`, ...}. A failure is kept for `close`: what runs goes on."""
        if self._path is None or self._failure is not None:
            return
        try:
            if self._file is None:
                self._file = self._path.open("w", encoding="utf-8")
            # In one piece, so that a reader never sees half of it unless the disk is full.
            self._file.write(json.dumps({"event": event, **values}) + "\n")
            self._file.flush()
        except OSError as error:
            self._failure = KeycastError(f"Writing {self._path} failed: {error.strerror}.")

    def close(self) -> None:
        """Close the file. Raise KeycastError where it, or a line before, could not be written."""
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        except OSError as error:
            self._failure = self._failure or KeycastError(f"Writing {self._path} failed: {error.strerror}.")
        if self._failure is not None:
            raise self._failure


def last_summary(path: Path) -> dict[str, Any]:
    """Return the last line of a `--stats` file, the summary of the last call.

    Raise KeycastError where there is no file or the last line is no summary: a call had not ended.
    """
    return _line(path, 1, "summary")


def last_summary_back(path: Path) -> dict[str, Any]:
    """Return the summary of the last call's other direction, in the line before. Raise as `last_summary`."""
    return _line(path, 2, "summary_back")


def _line(path: Path, from_last: int, event: str) -> dict[str, Any]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        values: dict[str, Any] = json.loads(lines[-from_last])
    except (OSError, ValueError, IndexError) as error:
        raise KeycastError(f"There are no figures in {path}.") from error
    if values.get("event") != event:
        raise KeycastError(f"The figures in {path} are not those of a whole call.")
    return values
