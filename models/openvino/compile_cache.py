"""Compiled graphs in the user's cache: to read one takes a third or less of the time to compile it.

A file is the SHA-256 of its name and of what follows, which is what OpenVINO exports. It is named by all that
it depends on, and read only where it is whole and nobody but its user may write there: this process computes
what it says.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import platformdirs

from shared.runtime.logs import logger

KEPT = 16
"""Files that are kept, those used last: some ten MB each."""
MAX_BYTES = 256 << 20
_SUFFIX, _UNFINISHED = ".graph", ".compiling-"
# What a process that was killed left behind is taken away after so many seconds.
_ABANDONED = 3600.0
_DIGEST = hashlib.sha256().digest_size
# Not to be led elsewhere, and not to wait for whoever writes into a pipe. Windows has neither.
_PLAINLY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_log = logger("network")


def name_of(*parts: str) -> str:
    """Return the name of what depends on `parts`, in this order."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def read(name: str) -> bytes | None:
    """Return what was kept under `name`; None where nothing is, or it is not as it was written."""
    try:
        path = _folder() / f"{name}{_SUFFIX}"
        _check(path.parent.lstat())
        with open(os.open(path, os.O_RDONLY | _PLAINLY), "rb") as file:
            _check(os.fstat(file.fileno()), regular=True)
            content = file.read(MAX_BYTES)
    except OSError as error:
        _log.debug("No compiled graph was read: %s", error)
        return None
    with suppress(OSError):
        # What is used stays.
        os.utime(path)
    digest, data = content[:_DIGEST], content[_DIGEST:]
    return data if digest == _digest(name, data) else None


def keep(name: str, data: bytes) -> None:
    """Keep `data` under `name`, and no more than `KEPT` files in all; where that fails, so be it."""
    try:
        folder = _folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A place of its own: both ends of a call may compile the same graph at the same time.
        with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=folder) as temporary:
            path = Path(temporary, name)
            # Whatever the umask: a file that others may write is not read again.
            path.touch(mode=0o600)
            path.write_bytes(_digest(name, data) + data)
            path.replace(folder / f"{name}{_SUFFIX}")
        _tidy(folder)
    except OSError as error:
        _log.debug("A compiled graph was not kept: %s", error)


def _folder() -> Path:
    """Return the folder; OSError where there is no home."""
    folder = platformdirs.user_cache_path("keycast")
    if not folder.is_absolute():
        raise FileNotFoundError("there is no home directory")
    return folder / "graphs"


def _check(found: os.stat_result, *, regular: bool = False) -> None:
    """PermissionError unless what has this status is the user's own, and only theirs to write."""
    if regular and not stat.S_ISREG(found.st_mode):
        raise PermissionError("it is not a regular file")
    if hasattr(os, "geteuid") and (found.st_uid != os.geteuid() or found.st_mode & 0o022):
        raise PermissionError("other users can write there")


def _digest(name: str, data: bytes) -> bytes:
    digest = hashlib.sha256(name.encode())
    digest.update(data)
    return digest.digest()


def _tidy(folder: Path) -> None:
    for old in sorted(folder.glob(f"*{_SUFFIX}"), key=_last_used, reverse=True)[KEPT:]:
        with suppress(OSError):
            old.unlink()
    for left in folder.glob(f"{_UNFINISHED}*"):
        if _last_used(left) < time.time() - _ABANDONED:
            shutil.rmtree(left, ignore_errors=True)


def _last_used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
