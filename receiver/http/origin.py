"""Checks on every HTTP request and headers on every response, whatever the path.

What is not HTTP is answered by aiohttp alone, which does neither, and names itself.

To a browser, a site whose name somebody has pointed at this machine is the origin of all that answers here:
its pages may then send anything and read the answers (DNS rebinding). So a receiver answers to names that
nobody else can point at it, and to no others. A numeric address cannot be pointed anywhere.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from shared.transport.pairing import is_loopback

HEADERS = {
    # Of what it runs on, a stranger need not know the versions.
    "Server": "keycast",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Hosts:
    """The names that a receiver which listens at `listening` goes by, `names` of its certificate included.

    On loopback these are loopback's own alone. Elsewhere every numeric address is one (which of them lead
    here through a NAT or a container's port, this machine cannot know), the name it was given to listen at,
    and the machine's own, alone and under `.local`.
    """

    def __init__(self, listening: str, names: Iterable[str] = ()) -> None:
        self._local = is_loopback(listening)
        own = set() if self._local else _own_names() | {listening}
        self._names = {name.lower() for name in (*names, *own, "localhost")}

    def include(self, name: str) -> bool:
        """Say whether `name`, of a request's Host without the port, is one of them."""
        name = name.lower().removesuffix(".")
        # A wildcard of a certificate stands for one label (RFC 6125, 6.4.3).
        if name in self._names or f"*.{name.partition('.')[2]}" in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return not self._local or address.is_loopback


def only_for(hosts: Hosts) -> Middleware:
    """Return what answers 421 to a request for another host, before anything else looks at it."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not hosts.include(host_of(request)[0]):
            raise web.HTTPMisdirectedRequest(text="This receiver does not go by that name.")
        return await handler(request)

    return check


def host_of(request: web.Request) -> tuple[str, int]:
    """Return the host and the port (0: none) that the request names. Raise 400 where it names none."""
    try:
        (host,) = request.headers.getall("Host", [])
        parts = urlsplit(f"//{host}")
        name, port = parts.hostname, parts.port or 0
    except ValueError as error:
        raise web.HTTPBadRequest(text="The Host header is missing or invalid.") from error
    if not name or parts.netloc != host or parts.username is not None:
        raise web.HTTPBadRequest(text="The Host header is missing or invalid.")
    return name, port


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Have an answer carry `HEADERS`."""
    response.headers.update(HEADERS)


def _own_names() -> set[str]:
    name = socket.gethostname()
    first = name.partition(".")[0]
    return {name, first, f"{first}.local"}
