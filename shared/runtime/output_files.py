"""Output files of a command, checked before the work."""

from __future__ import annotations

from pathlib import Path

from shared.errors import RequestError


def check_writable(path: Path) -> None:
    """Raise RequestError unless `path` can be written. What it holds stays; a missing one stays missing."""
    existed = path.exists()
    try:
        path.open("ab").close()
        if not existed:
            path.unlink()
    except OSError as error:
        raise RequestError(f"Cannot write {path}: {error.strerror}; choose another place.") from error
