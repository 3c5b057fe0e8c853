"""What aiortc and aioice do not do by themselves, in a few lines over their private names.

- One empty UDP datagram from anyone closes a connection (an IndexError in aioice), and a STUN message with a
  short attribute prints a traceback: what is neither STUN nor DTLS, or cannot be read, is ignored.
- Datagrams that wait to be read do so without a bound: past 1024 they are dropped, as by a network.
- A machine without any network still has itself: where aioice finds no address, 127.0.0.1 is used.
- Media is let through to connections that expect it only, and no datagram over 1500 bytes: its decryption has
  no more room.
- Bytes on the wire are counted for each connection, headers included. Where a TURN relay stands between, its
  own framing (at least 4 bytes a datagram) is not counted.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aioice.ice
from aiortc import RTCPeerConnection

from shared.errors import KeycastError

if TYPE_CHECKING:
    from aioice.ice import StunProtocol
    from aioice.stun import Message

_IPV4_UDP, _IPV6_UDP = 28, 48
_MARK = "_keycast_guard"
MAX_UNREAD = 1024
_MAX_MEDIA = 1500


@dataclass
class Traffic:
    """IP bytes of one connection so far."""

    sent: int = 0
    received: int = 0


_traffic: weakref.WeakKeyDictionary[object, Traffic] = weakref.WeakKeyDictionary()
_media: weakref.WeakSet[object] = weakref.WeakSet()


def install() -> None:
    """Guard and count every connection made from now on; a second call does nothing.

    Raise KeycastError where the installed aioice does not have the names this rests on.
    """
    protocol = getattr(aioice.ice, "StunProtocol", None)
    addresses = getattr(aioice.ice, "get_host_addresses", None)
    names = ("datagram_received", "send_data", "send_stun")
    if addresses is None or not all(callable(getattr(protocol, name, None)) for name in names):
        raise moved("aioice")
    if getattr(protocol, _MARK, False):
        return
    _wrap(aioice.ice.StunProtocol)
    setattr(aioice.ice, "get_host_addresses", _or_loopback(addresses))  # noqa: B010
    setattr(protocol, _MARK, True)


def traffic_of(peer: RTCPeerConnection) -> Traffic:
    """Return the live byte counts of `peer`, which has a data channel. Raise KeycastError, as `install`."""
    try:
        connection = peer.sctp.transport.transport._connection  # type: ignore[union-attr]
    except AttributeError as error:
        raise moved("aiortc") from error
    return _traffic.setdefault(connection, Traffic())


def expect_media(peer: RTCPeerConnection) -> None:
    """Let RTP through to `peer`, which has a data channel. Raise KeycastError, as `install`."""
    try:
        _media.add(peer.sctp.transport.transport._connection)  # type: ignore[union-attr]
    except AttributeError as error:
        raise moved("aiortc") from error


def unacknowledged(peer: RTCPeerConnection) -> int:
    """Return how many messages and pieces have not been confirmed. Raise KeycastError, as `install`."""
    try:
        sctp: Any = peer.sctp
        return len(sctp._data_channel_queue) + len(sctp._outbound_queue) + len(sctp._sent_queue)
    except AttributeError as error:
        raise moved("aiortc") from error


def _or_loopback(addresses: Callable[[bool, bool], list[str]]) -> Callable[[bool, bool], list[str]]:
    def found(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        return addresses(use_ipv4, use_ipv6) or ["127.0.0.1"]

    return found


def _wrap(protocol: type[StunProtocol]) -> None:
    received, send_data, send_stun = protocol.datagram_received, protocol.send_data, protocol.send_stun

    def guarded_received(self: StunProtocol, data: bytes, addr: tuple[str, int]) -> None:
        if not _passes(self, data):
            return
        _counts(self).received += _on_wire(len(data), addr)
        # A stranger may send anything, and aioice's reader raises more than it says: struct.error, for one.
        with contextlib.suppress(Exception):
            received(self, data, addr)

    async def counted_data(self: StunProtocol, data: bytes, addr: tuple[str, int]) -> None:
        _counts(self).sent += _on_wire(len(data), addr)
        await send_data(self, data, addr)

    def counted_stun(self: StunProtocol, message: Message, addr: tuple[str, int]) -> None:
        _counts(self).sent += _on_wire(len(bytes(message)), addr)
        send_stun(self, message, addr)

    for name, method in (
        ("datagram_received", guarded_received),
        ("send_data", counted_data),
        ("send_stun", counted_stun),
    ):
        setattr(protocol, name, method)


def _passes(protocol: StunProtocol, data: bytes) -> bool:
    """Say by its first byte (RFC 7983) whether a datagram is STUN, or DTLS or media there is room for."""
    if not data or data[0] < 4:
        return bool(data)
    if 127 < data[0] < 192:
        return protocol.receiver in _media and len(data) <= _MAX_MEDIA and _has_room(protocol)
    return 19 < data[0] < 64 and _has_room(protocol)


def _has_room(protocol: StunProtocol) -> bool:
    queue = getattr(protocol.receiver, "_queue", None)
    return queue is None or queue.qsize() < MAX_UNREAD


def _counts(protocol: StunProtocol) -> Traffic:
    return _traffic.setdefault(protocol.receiver, Traffic())


def _on_wire(payload_bytes: int, addr: tuple[str, int]) -> int:
    return payload_bytes + (_IPV6_UDP if ":" in str(addr[0]) else _IPV4_UDP)


def moved(package: str) -> KeycastError:
    """Return the error for a `package` that does not have a name this module or another rests on."""
    return KeycastError(
        f"The installed {package} has changed inside; install the versions of aiortc and aioice named in the "
        "constraints file."
    )
