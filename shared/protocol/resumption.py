"""Mutual proof, over a new connection, that a sender and a receiver share a call's secret."""

from __future__ import annotations

import hmac
from typing import Literal

from shared.constants import SECRET_BYTES


def proof(secret: bytes, side: Literal["sender", "receiver"], binding: bytes) -> bytes:
    """Return the 16 bytes by which `side` proves that it knows `secret`, over the connection of `binding`.

    HMAC-SHA256, cut to its left half (RFC 2104, section 5). `binding` holds the keys that both ends of the
    connection use (a channel binding, RFC 5056): whoever stands in between has others on either side of him,
    and what he hears proves nothing elsewhere. The side is in it, so that nobody can answer with an echo.
    """
    return hmac.digest(secret, side.encode() + b"\0" + binding, "sha256")[:SECRET_BYTES]
