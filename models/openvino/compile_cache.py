"""Compiled graphs in the user's cache: compiling one takes a second, reading it a quarter of that.

A file is the SHA-256 of what follows, and what OpenVINO exports. It is named by all that it depends on, and
read only where it is whole and its user's own: this process computes what it says.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import platformdirs

KEPT = 16
"""Files that are kept, those used last: some ten MB each."""
MAX_BYTES = 256 << 20
_SUFFIX = ".graph"
_log = logging.getLogger(__name__)


def name_of(*parts: str) -> str:
    """Return the name of what depends on `parts`, in this order."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def read(name: str) -> bytes | None:
    """Return what was kept under `name`; None where nothing is, or it is not as it was written."""
    folder = _folder()
    if folder is None:
        return None
    path = folder / f"{name}{_SUFFIX}"
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
                _log.debug("%s is someone else's: not read", path)
                return None
            content = file.read(MAX_BYTES)
        # What is used stays.
        os.utime(path)
    except OSError:
        return None
    digest, data = content[:32], content[32:]
    return data if hashlib.sha256(data).digest() == digest else None


def keep(name: str, data: bytes) -> None:
    """Keep `data` under `name`, and no more than `KEPT` files in all; where that fails, so be it."""
    folder = _folder()
    if folder is None:
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A place of its own: both ends of a call may compile the same graph at the same time.
        with tempfile.TemporaryDirectory(prefix=".compiling-", dir=folder) as temporary:
            path = Path(temporary, name)
            path.write_bytes(hashlib.sha256(data).digest() + data)
            path.replace(folder / f"{name}{_SUFFIX}")
        for old in sorted(folder.glob(f"*{_SUFFIX}"), key=_last_used, reverse=True)[KEPT:]:
            with suppress(OSError):
                old.unlink()
    except OSError as error:
        _log.debug("A compiled graph is not kept: %s", error)


def _folder() -> Path | None:
    """Return the folder; None where there is no home."""
    folder = platformdirs.user_cache_path("keycast")
    return folder / "graphs" if folder.is_absolute() else None


def _last_used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
