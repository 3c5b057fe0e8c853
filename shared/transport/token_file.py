"""Token discovery for senders of the same user on this machine: a file, locked while the receiver serves.

A receiver that is killed leaves its file behind and its port to whoever takes it. So the receiver keeps the
file locked, which the system ends with the process, and a sender uses a token only while that lock is held,
and only to call where that receiver listens: the same port of another loopback address may be anybody's.
Where the system has no such locks (Windows), nothing is published and nothing found.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import stat
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from shared.errors import RequestError
from shared.transport.pairing import DEFAULT_PORT, http_url, is_loopback

if sys.platform != "win32":
    import fcntl

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_MAX_BYTES = 4096
_LOOPBACK = ("127.0.0.1", "::1")


@dataclass(frozen=True)
class Published:
    """A file that is there, and locked, until `withdraw` or the end of the process."""

    path: Path
    descriptor: int

    @classmethod
    def publish(cls, port: int, token: str, addresses: Iterable[str]) -> Self:
        """Write `token`, of a receiver that listens at `port` of `addresses`. Raise RequestError for none."""
        path = _file(port)
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            _check_private(path.parent)
            if _is_taken(path):
                raise RequestError(
                    f"Another receiver is using the pairing file {path}; give senders --token."
                )
            return cls(path, _placed(path, "\n".join((token, *addresses))))
        except OSError as error:
            raise RequestError(f"The pairing file {path} cannot be written: {error.strerror}.") from error

    def withdraw(self) -> None:
        """Remove the file. Call it before the port is given up."""
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(self.descriptor), os.lstat(self.path)):
                self.path.unlink()
        with contextlib.suppress(OSError):
            os.close(self.descriptor)


def find(url: str) -> tuple[str, str] | None:
    """Return the token of a receiver that serves on this machine, at `url`, and the URL to call it by.

    The URL is `url`, but for http://localhost, which may lead to two addresses: the one where it listens.
    None where there is no such receiver. Raise RequestError where the file cannot be trusted: another user
    may have put it there.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or DEFAULT_PORT
    if not is_loopback(host):
        return None
    path = _file(port)
    try:
        _check_private(path.parent)
        token, *listening = _read(path) or ("",)
        wanted = _LOOPBACK if host == "localhost" else (host,)
        reached = [one for one in wanted if _covers(listening, one)]
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RequestError(f"The pairing file {path} cannot be read; give the token with --token.") from error
    if not reached:
        return None
    # An https receiver's certificate identifies it, and may name localhost alone.
    return token, url if parts.scheme == "https" else http_url(parts.scheme, reached[0], port)


def _placed(path: Path, text: str) -> int:
    """Put a locked file in place, all of it at once; return its descriptor."""
    descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    try:
        _lock(descriptor)
        os.write(descriptor, text.encode("ascii"))
        os.replace(name, path)
    except BaseException:
        os.close(descriptor)
        Path(name).unlink(missing_ok=True)
        raise
    return descriptor


def _read(path: Path) -> list[str] | None:
    """Return the file's lines; None where no receiver holds it."""
    with open(os.open(path, os.O_RDONLY | _NO_FOLLOW), encoding="ascii") as file:
        _check_owner(os.fstat(file.fileno()), path)
        if not _is_held(file.fileno()):
            return None
        return file.read(_MAX_BYTES).split("\n")


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        raise OSError(0, "this system does not support pairing files; give --token to both sides")
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_held(descriptor: int) -> bool:
    if sys.platform == "win32":
        return False
    try:
        # Ends with the file's closing.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _is_taken(path: Path) -> bool:
    try:
        return _read(path) is not None
    except (OSError, ValueError, RequestError):
        return False  # what is no receiver's is replaced


def _covers(listening: Iterable[str], address: str) -> bool:
    """Say whether who listens at `listening` does so at `address` too."""
    wanted = ipaddress.ip_address(address)
    own = [one for one in map(ipaddress.ip_address, listening) if one.version == wanted.version]
    return any(one == wanted or one.is_unspecified for one in own)


def _file(port: int) -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "keycast" / f"{port}.token"
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"keycast-{user}" / f"{port}.token"


def _check_private(folder: Path) -> None:
    status = os.lstat(folder)
    if not stat.S_ISDIR(status.st_mode):
        raise RequestError(f"{folder} is not a folder; remove it, or give the token with --token.")
    _check_owner(status, folder)


def _check_owner(status: os.stat_result, path: Path) -> None:
    if not hasattr(os, "getuid"):
        return
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise RequestError(
            f"{path} belongs to or is open to other users; remove it, or give the token with --token."
        )
