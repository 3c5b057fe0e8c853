"""The receiver's startup message: the command to type on the other machine, and where to watch."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import quote

from shared.transport.pairing import http_url
from shared.transport.tls import describe


def watching(host: str, port: int, token: str, certificate: Path | None) -> str:
    """Return the line that says where the viewer page is.

    The token stands in the fragment, which browsers send nowhere; the page exchanges it for a cookie.
    """
    scheme, name = "http" if certificate is None else "https", _name(host, certificate)
    return f"to watch in a browser: {http_url(scheme, name, port)}/#{quote(token, safe='')}"


def announcement(
    host: str, port: int, token: str, certificate: Path | None, *, sends: bool = False
) -> list[str]:
    """Return the lines of a receiver that listens at `host` and `port`, over https with a `certificate`.

    One that `sends` as well is to be seen. Raise RequestError where the certificate cannot be read.
    """
    own, view = _name(host, certificate), " --view window" if sends else ""
    if certificate is None:
        words = f"--connect {http_url('http', own, port)} --token {token}"
        here = [f"or, on this machine: sender --source demo{view}"]
    else:
        trusting = f" --tls-ca {certificate.name}" if describe(certificate).self_signed else ""
        words, here = f"--connect {http_url('https', own, port)} --token {token}{trusting}", []
    return ["listening; on the other machine run:", f"  sender --source cam0{view} {words}", *here]


def _name(host: str, certificate: Path | None) -> str:
    """Return what others know the receiver by: as its certificate does, where it names anything."""
    own = _own_address() if host in ("0.0.0.0", "::") else host
    if certificate is None:
        return own
    names = describe(certificate).names
    plain = [name for name in names if "*" not in name]
    return own if own in names or not plain else plain[0]


def _own_address() -> str:
    """Return the address by which other machines most likely reach this one. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return socket.gethostname()
        return str(probe.getsockname()[0])
