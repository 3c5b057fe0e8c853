"""Pairing of the two sides: how they find and trust each other, by addresses and the token."""

from __future__ import annotations

import ipaddress
import secrets
from urllib.parse import urlsplit

from shared.errors import RequestError

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8470
MAX_TOKEN = 200
MIN_STRONG_TOKEN = 8


def new_token() -> str:
    """Return a fresh pairing token: 72 random bits in 18 hexadecimal digits, which no shell misreads."""
    return secrets.token_hex(9)


def check_token(token: str) -> str:
    """Return `token`. Raise RequestError unless it is 1 to 200 plain letters, digits and signs."""
    if not (1 <= len(token) <= MAX_TOKEN and token.isascii() and token.isprintable()) or " " in token:
        raise RequestError(
            f"A token must be 1 to {MAX_TOKEN} ASCII characters without spaces; choose another."
        )
    return token


def check_strong(token: str) -> None:
    """Raise RequestError for a token that strangers might guess: under 8 signs."""
    if len(token) < MIN_STRONG_TOKEN:
        raise RequestError(
            f"A token of under {MIN_STRONG_TOKEN} characters can be guessed over the network; "
            "choose a longer --token, or leave it out to have one generated."
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


def _split(netloc: str, text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(netloc)
        port = DEFAULT_PORT if parts.port is None else parts.port
    except ValueError as error:
        raise RequestError(f"{text!r} is not an address; write HOST:PORT.") from error
    if parts.path or parts.query or parts.fragment or parts.username is not None:
        raise RequestError(f"{text!r} is not an address; write HOST:PORT.")
    return parts.hostname or "", port
