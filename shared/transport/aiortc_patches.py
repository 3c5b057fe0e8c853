"""Patches for gaps in aiortc and aioice, in a few lines over their private names.

- One empty UDP datagram from anyone closes a connection (an IndexError in aioice), and a STUN message with a
  short attribute prints a traceback: what is neither STUN nor DTLS, or cannot be read, is ignored.
- Datagrams that wait to be read do so without a bound: past 1024 they are dropped, as by a network. So are
  those over 1500 bytes: the decryption of media has no more room, and checking a STUN message of 64 KiB may
  take a quarter of a second.
- A peer may be heard from ever more addresses, each of which is then tried: past 64 they are ignored.
- A machine without any network still has itself: where aioice finds no address, 127.0.0.1 is used.
- Media is let through to connections that expect it only, and of it only RTP of the two sources that sound
  and messages name: libsrtp keeps 384 bytes for each further one, for ever.
- Bytes on the wire are counted for each connection, headers included. Where a TURN relay stands between, its
  own framing (at least 4 bytes a datagram) is not counted.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import aioice.ice
from aiortc import RTCPeerConnection
from cryptography.hazmat.primitives.hashes import SHA256

from shared.errors import KeycastError
from shared.media.voice_packet import is_sound
from shared.transport.media import channel_of
from shared.transport.wire_bytes import WireBytes

if TYPE_CHECKING:
    from aioice.ice import Connection, StunProtocol
    from aioice.stun import Message

WORKING = {"aiortc": "1.16.0", "aioice": "0.13.0"}
_IPV4_UDP, _IPV6_UDP = 28, 48
_STUN = 3
"""The last first byte of a STUN message (RFC 7983)."""
_MARK = "_keycast_guard"
MAX_UNREAD = 1024
MAX_DATAGRAM = 1500
MAX_ADDRESSES = 64
"""Of a peer: twice as many as a session description may name."""
_METHODS = {
    "StunProtocol": ("datagram_received", "send_data", "send_stun"),
    "Connection": ("data_received", "check_incoming"),
}
_FIELDS = ("_queue", "_remote_candidates")
_HOST = "_network_host"
CERTIFICATE, CONTEXT = "_RTCDtlsTransport__local_certificate", "_create_ssl_context"
"""Private names of an aiortc DTLS transport: its certificate, and what makes OpenSSL's context with it."""


@dataclass(frozen=True)
class Traffic:
    """IP bytes of one connection so far."""

    sent: WireBytes
    received: WireBytes

    @classmethod
    def of(cls, keypoints: Collection[int]) -> Traffic:
        """Return empty counts; streams `keypoints` carry those."""
        return cls(WireBytes(keypoints), WireBytes(keypoints))


_traffic: weakref.WeakKeyDictionary[object, Traffic] = weakref.WeakKeyDictionary()
_media: weakref.WeakSet[object] = weakref.WeakSet()


def install() -> None:
    """Guard and count every connection made from now on; a second call does nothing.

    Raise KeycastError where the installed aioice does not have the names this rests on.
    """
    addresses = getattr(aioice.ice, "get_host_addresses", None)
    if addresses is None:
        raise moved("aioice", "get_host_addresses")
    for name, methods in _METHODS.items():
        require("aioice", getattr(aioice.ice, name, None), methods)
    require("aioice", aioice.Candidate("1", 1, "udp", 1, "127.0.0.1", 1, "host"), (_HOST,))
    protocol = aioice.ice.StunProtocol
    if getattr(protocol, _MARK, False):
        return
    _wrap(protocol)
    _bound(aioice.ice.Connection)
    setattr(aioice.ice, "get_host_addresses", _or_loopback(addresses))  # noqa: B010
    setattr(protocol, _MARK, True)


def traffic_of(peer: RTCPeerConnection, keypoints: Collection[int]) -> Traffic:
    """Return the live byte counts of `peer`, which has data channels; those of `keypoints` carry these.

    To be called before it is connected. Raise KeycastError, as `install`.
    """
    connection = ice_of(peer)
    require("aioice", connection, _FIELDS)
    return _traffic.setdefault(connection, Traffic.of(keypoints))


def expect_media(peer: RTCPeerConnection) -> None:
    """Let sound through to `peer`, which has a data channel. Raise KeycastError, as `install`."""
    _media.add(ice_of(peer))


def unacknowledged(peer: RTCPeerConnection, streams: Collection[int] | None = None) -> int:
    """Return how many messages and pieces `peer`, which is guarded, has sent and not seen confirmed.

    With `streams`, only those of these.
    """
    sctp: Any = peer.sctp
    if streams is None:
        return len(sctp._data_channel_queue) + len(sctp._outbound_queue) + len(sctp._sent_queue)
    waiting = sum(channel.id in streams for channel, *_ in sctp._data_channel_queue)
    return waiting + sum(
        chunk.stream_id in streams for queue in (sctp._outbound_queue, sctp._sent_queue) for chunk in queue
    )


def ice_of(peer: RTCPeerConnection) -> object:
    """Return the ICE connection of `peer`, which has a data channel. Raise KeycastError, as `install`."""
    ice: Any = peer.sctp.transport.transport if peer.sctp is not None else None
    require("aiortc", ice, ("_connection",))
    return ice._connection


def _or_loopback(addresses: Callable[[bool, bool], list[str]]) -> Callable[[bool, bool], list[str]]:
    def found(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        return addresses(use_ipv4, use_ipv6) or ["127.0.0.1"]

    return found


def _wrap(protocol: type[StunProtocol]) -> None:
    received, send_data, send_stun = protocol.datagram_received, protocol.send_data, protocol.send_stun

    def guarded_received(self: StunProtocol, data: bytes, addr: tuple[str, int]) -> None:
        if not _passes(self, data):
            return
        _counts(self).received.datagram(data, _around(addr))
        # A stranger may send anything, and aioice's reader raises more than it says: struct.error, for one.
        with contextlib.suppress(Exception):
            received(self, data, addr)

    async def counted_data(self: StunProtocol, data: bytes, addr: tuple[str, int]) -> None:
        _counts(self).sent.datagram(data, _around(addr))
        await send_data(self, data, addr)

    def counted_stun(self: StunProtocol, message: Message, addr: tuple[str, int]) -> None:
        _counts(self).sent.datagram(bytes(message), _around(addr))
        send_stun(self, message, addr)

    for name, method in (
        ("datagram_received", guarded_received),
        ("send_data", counted_data),
        ("send_stun", counted_stun),
    ):
        setattr(protocol, name, method)


def _bound(connection: type[Connection]) -> None:
    data_in, check_in = connection.data_received, connection.check_incoming

    def data_received(self: Connection, data: bytes, component: int) -> None:
        # What begins as STUN and is not, nobody would ever take from the queue before ICE has ended.
        if data[0] > _STUN:
            data_in(self, data, component)

    def check_incoming(self: Connection, message: Message, addr: tuple[str, int], via: StunProtocol) -> None:
        known = [(getattr(candidate, _HOST), candidate.port) for candidate in self._remote_candidates]
        if len(known) < MAX_ADDRESSES or addr in known:
            check_in(self, message, addr, via)

    setattr(connection, "data_received", data_received)  # noqa: B010
    setattr(connection, "check_incoming", check_incoming)  # noqa: B010


def _passes(protocol: StunProtocol, data: bytes) -> bool:
    """Say by its first byte (RFC 7983) whether a datagram is STUN, or DTLS or sound there is room for."""
    if not 0 < len(data) <= MAX_DATAGRAM:
        return False
    if data[0] <= _STUN:
        return True
    wanted = 19 < data[0] < 64 or (_is_media(data) and protocol.receiver in _media)
    return wanted and protocol.receiver._queue.qsize() < MAX_UNREAD


def _is_media(data: bytes) -> bool:
    return is_sound(data) or channel_of(data) is not None


def _counts(protocol: StunProtocol) -> Traffic:
    return _traffic.setdefault(protocol.receiver, Traffic.of(()))


def _around(addr: tuple[str, int]) -> int:
    """Return the bytes of IP and UDP around a datagram."""
    return _IPV6_UDP if ":" in str(addr[0]) else _IPV4_UDP


def fingerprints(peer: RTCPeerConnection) -> tuple[bytes, bytes]:
    """Return the SHA-256 of this end's DTLS certificate and of the other's, 32 bytes each, once connected.

    The other's is that which it has used, and not what a session description says of it. Raise KeycastError,
    as `install`.
    """
    try:
        dtls = peer.sctp.transport  # type: ignore[union-attr]
        own = next(one.value for one in dtls.getLocalParameters().fingerprints if one.algorithm == "sha-256")
        other = dtls._ssl.get_peer_certificate(as_cryptography=True).fingerprint(SHA256())  # type: ignore[union-attr]
    except (AttributeError, StopIteration, TypeError) as error:
        raise moved("aiortc", "certificate of a connection") from error
    return bytes.fromhex(own.replace(":", "")), other


def require(package: str, owner: object, names: Iterable[str]) -> None:
    """Raise KeycastError, in one sentence, unless `owner` of `package` has all `names`, a class its own."""
    for name in names:
        if not (name in vars(owner) if isinstance(owner, type) else hasattr(owner, name)):
            raise moved(package, name)


def moved(package: str, name: str) -> KeycastError:
    """Return the error for a `package` without the `name` that this module or another rests on."""
    return KeycastError(
        f"The installed {package} {version(package)} has no {name}, which keycast relies on; "
        f"install aiortc {WORKING['aiortc']} and aioice {WORKING['aioice']}, with which it is tested."
    )
