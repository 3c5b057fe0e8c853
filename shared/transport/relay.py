"""STUN and TURN servers of a connection: the outcome of each, and whether the connection is relayed.

aioice asks one TURN server, and says nothing where that refuses or is silent: there is just no candidate.
Here several are asked, each half a second after the one before it unless that has failed already, and the
first that answers is used (as addresses are tried by RFC 8305); and what each said is kept. All of it ends
after the five seconds that aioice gives to gathering, so that an answer is never long in coming.
"""

from __future__ import annotations

import contextlib
import os
import ssl
from asyncio.staggered import staggered_race
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import aioice.ice
from aioice import stun
from aiortc import RTCPeerConnection

from shared.errors import KeycastError, RequestError
from shared.interfaces import NetworkPath
from shared.transport import aiortc_patches
from shared.transport.servers import IceOptions, IceServer

STAGGER_SECONDS = 0.5
_MARK = "_keycast_relay"
_REFUSED = (401, 403, 431, 441)  # RFC 5389, 15.6, and RFC 5766, 15


@dataclass
class _Gathering:
    """State of one connection's servers while it gathers its candidates."""

    options: IceOptions
    failures: dict[IceServer, BaseException] = field(default_factory=dict)


_gathering: ContextVar[_Gathering | None] = ContextVar("gathering", default=None)


@contextlib.contextmanager
def gathering(options: IceOptions) -> Iterator[Mapping[IceServer, BaseException]]:
    """Ask the servers of `options` for what is gathered meanwhile; yield what became of those that failed.

    Raise KeycastError where the installed aioice does not have the name this rests on, and it is needed.
    """
    if options.turn:
        _install()
    current = _Gathering(options)
    before = _gathering.set(current)
    try:
        yield current.failures
    finally:
        _gathering.reset(before)


def problem(
    options: IceOptions, sdp: str, failures: Mapping[IceServer, BaseException]
) -> KeycastError | None:
    """Return why `sdp` has not the candidates that `options` should have led to; None where it has them.

    RequestError where every TURN server refuses the user or the password: asking again helps nothing.
    """
    if options.turn and " typ relay" not in sdp:
        sentences = [_sentence(server, failures.get(server)) for server in options.turn]
        refused = all(_is_refusal(failures.get(server)) for server in options.turn)
        return RequestError(sentences[0]) if refused else KeycastError(" ".join(sentences))
    if options.stun is not None and not options.relay_only and " typ srflx" not in sdp:
        return KeycastError(f"The STUN server {options.stun.url} does not answer; check the address.")
    return None


def pair_of(peer: RTCPeerConnection) -> str:
    """Return both ends' addresses and kinds of the way that `peer` has found; "" while there is none."""
    try:
        pair: Any = peer.sctp.transport.transport._connection._nominated.get(1)  # type: ignore[union-attr]
        ends = (pair.local_candidate, pair.remote_candidate)
        return " to ".join(f"{end.host} port {end.port} ({end.type}, {end.transport})" for end in ends)
    except AttributeError:
        return ""


def path_of(peer: RTCPeerConnection) -> NetworkPath:
    """Return how `peer`, which has a data channel, is connected: over a relay of either side, or directly.

    "" while it is not connected, and where the installed aiortc keeps that elsewhere.
    """
    try:
        pair: Any = peer.sctp.transport.transport._connection._nominated.get(1)  # type: ignore[union-attr]
        types = {pair.local_candidate.type, pair.remote_candidate.type}
    except AttributeError:
        return ""
    return "relay" if "relay" in types else "direct"


def _install() -> None:
    ask = getattr(aioice.ice, "relayed_candidate", None)
    if ask is None:
        raise aiortc_patches.moved("aioice", "relayed_candidate")
    if not getattr(ask, _MARK, False):
        asking = _racing(ask)
        setattr(asking, _MARK, True)
        setattr(aioice.ice, "relayed_candidate", asking)  # noqa: B010


def _racing(ask: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Return what takes the place of aioice's `ask`: the same for each of the servers, the first one wins."""

    async def asked(current: _Gathering, server: IceServer, named: Mapping[str, object]) -> object:
        mine = {
            "turn_server": (server.host, server.port),
            "turn_ssl": server.scheme == "turns",
            "turn_transport": server.transport,
            "turn_username": server.username,
            "turn_password": server.credential,
        }
        try:
            return await ask(**{**named, **mine})
        except BaseException as error:
            current.failures[server] = error
            raise

    async def race(**named: object) -> object:
        current = _gathering.get()
        if current is None:
            return await ask(**named)
        attempts = [partial(asked, current, server, named) for server in current.options.turn]
        found, winner, errors = await staggered_race(attempts, STAGGER_SECONDS)
        if winner is None:
            raise errors[0] or ConnectionError("no TURN server answered")
        return found

    return race


def _is_refusal(error: BaseException | None) -> bool:
    return isinstance(error, stun.TransactionFailed) and error.response.error_code in _REFUSED


def _sentence(server: IceServer, error: BaseException | None) -> str:
    if _is_refusal(error):
        return (
            f"The TURN server {server.url} rejected the user name or the password; "
            "check --turn-user and --turn-password."
        )
    if isinstance(error, stun.TransactionFailed):
        return f"The TURN server {server.url} provided no relay ({error})."
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"The TURN server {server.url} has a certificate that is not trusted here."
    if isinstance(error, OSError) and not isinstance(error, TimeoutError):
        number = error.errno or 0
        cause = os.strerror(number) if number > 0 else error.strerror or type(error).__name__
        return f"The TURN server {server.url} cannot be reached ({cause}); check the address."
    return (
        f"The TURN server {server.url} does not answer; check the address, and whether a firewall lets "
        f"{server.transport.upper()} through."
    )
