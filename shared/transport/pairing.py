"""How the two sides find and trust each other: addresses, the token, and its file on one machine."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
import stat
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from shared.errors import RequestError

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8470
MAX_TOKEN = 200
MIN_STRONG_TOKEN = 8
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)


def new_token() -> str:
    """Return a fresh pairing token: 72 random bits in 18 hexadecimal digits, which no shell misreads."""
    return secrets.token_hex(9)


def check_token(token: str) -> str:
    """Return `token`. Raise RequestError unless it is 1 to 200 plain letters, digits and signs."""
    if not (1 <= len(token) <= MAX_TOKEN and token.isascii() and token.isprintable()) or " " in token:
        raise RequestError(
            f"A token has 1 to {MAX_TOKEN} letters, digits and signs without spaces; give another."
        )
    return token


def check_strong(token: str) -> None:
    """Raise RequestError for a token that strangers might guess: under 8 signs."""
    if len(token) < MIN_STRONG_TOKEN:
        raise RequestError(
            f"A token of under {MIN_STRONG_TOKEN} signs can be guessed from elsewhere; "
            "give a longer --token, or none to have one made."
        )


def http_url(scheme: str, host: str, port: int) -> str:
    """Return the URL of a receiver at `host`, a name or an address."""
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def listen_address(text: str) -> tuple[str, int]:
    """Read "HOST:PORT", "HOST" or ":PORT" ("[::1]:8470" for IPv6). Raise RequestError on anything else."""
    parts = _split(f"//{text}", text)
    return parts[0] or DEFAULT_HOST, parts[1]


def call_url(text: str | None) -> str:
    """Return the receiver's URL, "http://host:port", from what a person typed; None is this machine.

    "host", "host:port" and full http(s) URLs are understood. Raise RequestError on anything else.
    """
    if text is None:
        return http_url("http", DEFAULT_HOST, DEFAULT_PORT)
    scheme, mark, rest = text.partition("://")
    if not mark:
        scheme, rest = "http", text
    host, port = _split(f"//{rest.rstrip('/')}", text)
    if scheme not in ("http", "https") or not host:
        raise RequestError(f"{text!r} is not a receiver's address; write http://HOST:PORT.")
    return http_url(scheme, host, port)


def is_loopback(host: str) -> bool:
    """Say whether `host` names this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def local_token(url: str) -> str | None:
    """Return the token that a receiver on this machine, at `url`, has published; None where there is none.

    Raise RequestError where the file cannot be trusted: another user may have put it there.
    """
    parts = urlsplit(url)
    if not is_loopback(parts.hostname or ""):
        return None
    path = _file(parts.port or DEFAULT_PORT)
    try:
        _check_private(path.parent)
        with open(os.open(path, os.O_RDONLY | _NO_FOLLOW), encoding="ascii") as file:
            _check_owner(os.fstat(file.fileno()), path)
            return file.read(MAX_TOKEN).strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"The pairing file {path} cannot be read; give the token with --token.") from error


def publish(port: int, token: str) -> Path:
    """Write `token` where a sender of the same user finds it. Raise RequestError where that fails."""
    path = _file(port)
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        _check_private(path.parent)
        path.unlink(missing_ok=True)
        created = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW, 0o600)
        with open(created, "w", encoding="ascii") as file:
            file.write(token)
    except OSError as error:
        raise RequestError(f"The pairing file {path} cannot be written: {error.strerror}.") from error
    return path


def withdraw(port: int) -> None:
    """Remove what `publish` wrote; no file is no error."""
    # A token left behind opens nothing once its receiver is gone.
    with contextlib.suppress(OSError):
        _file(port).unlink(missing_ok=True)


def _split(netloc: str, text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(netloc)
        port = DEFAULT_PORT if parts.port is None else parts.port
    except ValueError as error:
        raise RequestError(f"{text!r} is not an address; write HOST:PORT.") from error
    if parts.path or parts.query or parts.fragment or parts.username is not None:
        raise RequestError(f"{text!r} is not an address; write HOST:PORT.")
    return parts.hostname or "", port


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
