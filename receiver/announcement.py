"""What a receiver says at start: the command to type on the other machine."""

from __future__ import annotations

import socket
from pathlib import Path

from shared.transport.pairing import http_url
from shared.transport.tls import describe


def announcement(host: str, port: int, token: str, certificate: Path | None) -> list[str]:
    """Return the lines of a receiver that listens at `host` and `port`, over https with a `certificate`.

    Raise RequestError where the certificate cannot be read.
    """
    own = _own_address() if host in ("0.0.0.0", "::") else host
    if certificate is None:
        words = f"--connect {http_url('http', own, port)} --token {token}"
        here = ["or, on this machine: sender --source demo"]
    else:
        words, here = _tls_words(certificate, own, port, token), []
    return ["listening; on the other machine run:", f"  sender --source cam0 {words}", *here]


def _tls_words(certificate: Path, own: str, port: int, token: str) -> str:
    """Return a sender's words; they name the receiver as its certificate does, where it does."""
    said = describe(certificate)
    plain = [name for name in said.names if "*" not in name]
    host = own if own in said.names or not plain else plain[0]
    trusting = f" --tls-ca {certificate.name}" if said.self_signed else ""
    return f"--connect {http_url('https', host, port)} --token {token}{trusting}"


def _own_address() -> str:
    """Return the address by which other machines most likely reach this one. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return socket.gethostname()
        return str(probe.getsockname()[0])
