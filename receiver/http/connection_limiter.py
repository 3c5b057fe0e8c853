"""Limits on connections to the HTTP port: who may connect, how many at once, for how long, how many bytes.

aiohttp bounds what one request may hold, and neither how slowly it comes nor how many connections there are.
Until a connection has shown the token it is a stranger's: it lives for ten seconds at most, may send little,
and makes room for a newer one where there are too many.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from shared.protocol.limits import network_of

STRANGER_SECONDS = 10.0
STRANGER_BYTES = 96 * 1024
"""An offer with its headers takes about 2 KiB, and may take 64."""
TLS_SECONDS = 5.0
CONNECTIONS, CONNECTIONS_OF_ONE = 64, 16
_BACKLOG = 128
_PAUSE_SECONDS = 0.2

Factory = Callable[[], asyncio.Protocol]
Say = Callable[[str], None]


@dataclass(eq=False)
class _Visitor:
    """One connection. `task` takes it from its TCP handshake through TLS to its end."""

    network: str
    task: asyncio.Task[None] | None = None
    transport: asyncio.Transport | None = None
    trusted: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    def drop(self) -> None:
        if self.transport is not None:
            self.transport.abort()
        elif self.task is not None:
            self.task.cancel()
        self.gone.set()


class ConnectionLimiter:
    """Listens, and hands connections to protocols of `factory`; `say` hears in one line who was shut out.

    `say` does not raise: whoever is at the door is dealt with around it.
    """

    def __init__(self, factory: Factory, tls: ssl.SSLContext | None, say: Say) -> None:
        self._factory = factory
        self._tls = tls
        self._say = say
        self._sockets: list[socket.socket] = []
        self._listening: list[asyncio.Task[None]] = []
        self._visitors: list[_Visitor] = []

    async def open(self, host: str, port: int) -> int:
        """Listen at all addresses of `host`; return the port, a free one for 0. OSError, OverflowError."""
        loop = asyncio.get_running_loop()
        try:
            for family, address in await _addresses(host, port):
                self._sockets.append(_listening(family, address[0], port, *address[2:]))
                port = port or self._sockets[0].getsockname()[1]
        except BaseException:
            self._close_sockets()
            raise
        self._listening = [loop.create_task(self._listen(one)) for one in self._sockets]
        return port

    @property
    def addresses(self) -> list[str]:
        """The numeric addresses it listens at."""
        return [str(one.getsockname()[0]) for one in self._sockets]

    async def close(self) -> None:
        """Take no more connections. Those that are there stay; `factory`'s owner closes them."""
        for task in self._listening:
            task.cancel()
        await asyncio.gather(*self._listening, return_exceptions=True)
        self._close_sockets()
        for visitor in [one for one in self._visitors if one.transport is None]:
            visitor.drop()

    def trust(self, transport: asyncio.BaseTransport | None) -> None:
        """Note that the connection of `transport` has shown the token."""
        for visitor in self._visitors:
            if visitor.transport is transport:
                visitor.trusted = True

    async def _listen(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError:
                # Out of file handles, or the connection was gone before it was taken.
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            self._welcome(accepted, network_of(str(address[0])))

    def _close_sockets(self) -> None:
        for one in self._sockets:
            one.close()

    def _welcome(self, accepted: socket.socket, network: str) -> None:
        same = [visitor for visitor in self._visitors if visitor.network == network]
        crowded = [
            group
            for group, most in ((same, CONNECTIONS_OF_ONE), (self._visitors, CONNECTIONS))
            if len(group) >= most
        ]
        if crowded and not self._make_room(crowded[0]):
            accepted.close()
            return
        visitor = _Visitor(network)
        self._visitors.append(visitor)
        visitor.task = asyncio.get_running_loop().create_task(self._host(visitor, accepted))

    def _make_room(self, group: list[_Visitor]) -> bool:
        """Let the oldest stranger of `group` go; False where all have shown the token."""
        oldest = next((visitor for visitor in group if not visitor.trusted), None)
        if oldest is None:
            self._say(f"{group[-1].network} has too many connections; a new one was refused")
            return False
        oldest.drop()
        self._visitors.remove(oldest)
        self._say(f"{oldest.network} or others opened too many connections; the oldest was closed")
        return True

    async def _host(self, visitor: _Visitor, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                lambda: _Watched(self._factory(), visitor, self._say),
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=TLS_SECONDS if self._tls else None,
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(visitor.gone.wait(), STRANGER_SECONDS)
            if not visitor.gone.is_set() and not visitor.trusted:
                visitor.drop()
                self._say(f"{visitor.network} kept a connection open without the token; it was closed")
            await visitor.gone.wait()
        except (OSError, ssl.SSLError, asyncio.CancelledError):
            # A handshake that failed, or that was given up to make room.
            accepted.close()
        finally:
            with contextlib.suppress(ValueError):
                self._visitors.remove(visitor)


class _Watched(asyncio.Protocol):
    """Passes all on to `inner`, and counts a stranger's bytes."""

    def __init__(self, inner: asyncio.Protocol, visitor: _Visitor, say: Say) -> None:
        self._inner = inner
        self._visitor = visitor
        self._say = say
        self._received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the connection, so that it can be dropped."""
        self._visitor.transport = cast(asyncio.Transport, transport)
        self._inner.connection_made(transport)

    def pause_writing(self) -> None:
        """Pass it on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._inner.resume_writing()

    def eof_received(self) -> bool | None:
        """Pass it on."""
        return self._inner.eof_received()

    def data_received(self, data: bytes) -> None:
        """Pass it on, unless it is more than a stranger may send."""
        self._received += len(data)
        if self._received > STRANGER_BYTES and not self._visitor.trusted:
            self._visitor.drop()
            self._say(f"{self._visitor.network} sent over {STRANGER_BYTES} bytes without the token")
            return
        self._inner.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that its place is free."""
        self._visitor.gone.set()
        self._inner.connection_lost(exc)


async def _addresses(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    return list(dict.fromkeys((int(family), address) for family, _, _, _, address in found))


def _listening(family: int, host: str, port: int, *scope: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            # Elsewhere it would let another program take the port as well.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setblocking(False)
        made.bind((host, port, *scope))
        made.listen(_BACKLOG)
    except BaseException:
        made.close()
        raise
    return made
