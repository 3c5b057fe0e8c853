"""Files that a command leaves behind: asked about before the work, written at its end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from shared.errors import KeycastError, RequestError


def check_writable(path: Path) -> None:
    """Raise RequestError unless `path` can be written. What it holds stays; a missing one stays missing."""
    existed = path.exists()
    try:
        path.open("ab").close()
        if not existed:
            path.unlink()
    except OSError as error:
        raise RequestError(f"Cannot write {path}: {error.strerror}; choose another place.") from error


def write_json(path: Path, values: Mapping[str, object]) -> None:
    """Write `values` to `path` as JSON. Raise KeycastError where that fails."""
    try:
        path.write_text(json.dumps(values), encoding="utf-8")
    except OSError as error:
        raise KeycastError(f"Writing {path} failed: {error.strerror}.") from error
