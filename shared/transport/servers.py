"""STUN and TURN servers as given by the user. Only servers that were named are asked: none by default."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass

from shared.errors import RequestError
from shared.runtime.environment import from_environment

USER, PASSWORD = "KEYCAST_TURN_USER", "KEYCAST_TURN_PASSWORD"
_PORTS = {"stun": 3478, "turn": 3478, "turns": 5349}
# RFC 7064 and 7065, without addresses of IPv6 in brackets, which aioice does not take.
_URL = re.compile(
    r"(?P<scheme>stun|turn|turns):(?P<host>[A-Za-z0-9._-]{1,253})(?::(?P<port>\d{1,5}))?"
    r"(?:\?transport=(?P<transport>udp|tcp))?"
)


@dataclass(frozen=True)
class IceServer:
    """A STUN server ("stun"), or a TURN server ("turn", over TLS "turns") with what it asks of its users.

    `transport`, "udp" or "tcp", is how a TURN server is reached; the call between it and the other side is
    UDP all the same.
    """

    scheme: str
    host: str
    port: int
    transport: str = "udp"
    username: str | None = None
    credential: str | None = None

    @property
    def url(self) -> str:
        """The server as one types it; never with the credential."""
        way = "?transport=tcp" if self.scheme == "turn" and self.transport == "tcp" else ""
        return f"{self.scheme}:{self.host}:{self.port}{way}"


@dataclass(frozen=True)
class IceOptions:
    """Options for finding a way to the other side: at most one STUN server, TURN servers in order of choice.

    `relay_only`: no way but over a TURN server; none of this machine's addresses is sent to the other side.
    """

    stun: IceServer | None = None
    turn: tuple[IceServer, ...] = ()
    relay_only: bool = False


DIRECT = IceOptions()


def add_ice_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--ice-server`, `--turn-user`, `--turn-password` and `--relay-only`."""
    add = parser.add_argument
    servers = "stun:HOST[:PORT] or turn:HOST[:PORT][?transport=tcp] (turns: over TLS); may be repeated"
    add("--ice-server", action="append", default=[], metavar="URL", help=servers)
    add("--turn-user", metavar="NAME", help=f"user name for the TURN servers; default: ${USER}")
    password = f"for the TURN servers; default: ${PASSWORD}, or the file that ${PASSWORD}_FILE names"
    add("--turn-password", metavar="PASSWORD", help=password)
    alone = "call only over the TURN server, without revealing this machine's addresses to the other side"
    add("--relay-only", action="store_true", help=alone)


def chosen_ice(given: argparse.Namespace) -> IceOptions:
    """Return what the arguments of `add_ice_arguments` say. Raise RequestError where they make no sense."""
    user = given.turn_user or from_environment(USER)
    password = given.turn_password or from_environment(PASSWORD)
    return ice_options(given.ice_server, user, password, relay_only=given.relay_only)


def ice_options(
    urls: Sequence[str], user: str | None = None, password: str | None = None, *, relay_only: bool = False
) -> IceOptions:
    """Return the options for servers at `urls`. Raise RequestError for a bad URL, or for what is missing."""
    servers = [_parse(url, user, password) for url in urls]
    stun = [server for server in servers if server.scheme == "stun"]
    turn = tuple(server for server in servers if server.scheme != "stun")
    if len(stun) > 1:
        raise RequestError("More than one STUN server is of no use; give only one.")
    if turn and not (user and password):
        raise RequestError(
            f"A TURN server needs a user name and a password; give --turn-user and set {PASSWORD} "
            "(or give --turn-password)."
        )
    if relay_only and not turn:
        raise RequestError("--relay-only needs a relay; give one with --ice-server turn:HOST:PORT.")
    return IceOptions(stun[0] if stun else None, turn, relay_only)


def _parse(text: str, user: str | None, password: str | None) -> IceServer:
    found = _URL.fullmatch(text)
    port = int(found["port"] or _PORTS[found["scheme"]]) if found else 0
    if found is None or not 0 < port < 65536:
        raise RequestError(
            f"{text!r} is not a STUN or TURN server; write stun:HOST:PORT, turn:HOST:PORT or "
            "turn:HOST:PORT?transport=tcp, with a name or an IPv4 address."
        )
    scheme, transport = found["scheme"], found["transport"]
    if scheme == "stun":
        if transport is not None:
            raise RequestError(f"{text!r}: STUN runs over UDP; leave out ?transport=.")
        return IceServer(scheme, found["host"], port)
    if scheme == "turns" and transport == "udp":
        raise RequestError(f"{text!r}: TLS runs over TCP; write turns:HOST:PORT.")
    way = transport or ("tcp" if scheme == "turns" else "udp")
    return IceServer(scheme, found["host"], port, way, user, password)
