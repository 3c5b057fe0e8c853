"""One direction of a call: its pair of channels on a connection that may carry two directions."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from aiortc import RTCDataChannel, RTCPeerConnection

from shared.constants import MAX_CTL_MESSAGE, MAX_PACKET, MESSAGE_OVERHEAD
from shared.errors import KeycastError
from shared.interfaces import DRAIN_SECONDS, BytesByCause, Channel, NetworkPath
from shared.protocol.arrivals import MODULUS, SequenceTracker
from shared.transport import aiortc_patches, relay
from shared.transport.aiortc_patches import Traffic
from shared.transport.inbox import Inbox
from shared.transport.media import IN_HEADER, MEDIA_OVERHEAD, pack
from shared.transport.sctp_limits import SctpLimiter
from shared.transport.voice import VoicePath

_LIMITS: dict[Channel, int] = {"kp": MAX_PACKET, "ctl": MAX_CTL_MESSAGE}
_BACKLOG_SECONDS = 0.05
_POLL_SECONDS = 0.005
_OVER = ("closing", "closed")
MAX_UNCONFIRMED = 1024
"""Messages, and pieces of them: four times what a picture takes, or half a minute of keypoints."""


class Media:
    """Counts of messages that travel as media over a connection, whichever direction they belong to."""

    def __init__(self) -> None:
        self.sent = 0
        self.newest = 0
        self.arrivals = SequenceTracker()
        self._newest_report = -1

    def came(self, channel: Channel, number: int) -> bool:
        """Take note of a packet; say whether it is worth reading. A report that was overtaken is not."""
        self.newest = max(self.newest, number)
        self.arrivals.came(number % MODULUS)
        if channel == "kp":
            return True
        is_news, self._newest_report = number > self._newest_report, max(number, self._newest_report)
        return is_news


@dataclass(frozen=True)
class Wire:
    """What the lanes of a connection share."""

    traffic: Traffic
    arrivals: SequenceTracker
    limiter: SctpLimiter
    path: VoicePath | None
    """The way for RTP packets."""
    carries_voice: bool
    media: Media | None


class Lane(ABC):
    """An unordered channel that never repeats, and a reliable one; a `shared.interfaces.Connection`.

    Both are negotiated beforehand by their numbers, so a peer has no say in how they work. What is counted
    on the wire is the whole connection's; messages are this lane's own.
    """

    def __init__(self, peer: RTCPeerConnection, kp: int, ctl: int) -> None:
        self._peer = peer
        self._kp = peer.createDataChannel("kp", ordered=False, maxRetransmits=0, negotiated=True, id=kp)
        self._ctl = peer.createDataChannel("ctl", negotiated=True, id=ctl)
        self._streams = frozenset((kp, ctl))
        self._inbox = Inbox()
        self._backlog_since: float | None = None
        self._uses_media = False
        self.app_sent = 0
        self.app_received = 0
        for channel in (self._kp, self._ctl):
            self._listen_to(channel)

    @property
    def back(self) -> Lane | None:
        """The lane of the other direction, where there is one and this is not it."""
        return None

    @property
    @abstractmethod
    def binding(self) -> bytes:
        """The fingerprints of both ends' certificates, the offering side's first; see `Connection`."""

    @property
    @abstractmethod
    def reason(self) -> str:
        """Why the connection ended; "" while it has not, or where either side closed it."""

    @property
    @abstractmethod
    def ended(self) -> bool:
        """Whether the connection has ended, from either side, or this lane of it was closed."""

    @abstractmethod
    async def opened(self, timeout: float = 8.0) -> None:
        """Return once the channels are open. Raise KeycastError when that takes over `timeout` seconds."""

    @abstractmethod
    async def close(self) -> None:
        """Give this lane up, and with the last one the connection. Safe to call again."""

    @abstractmethod
    def _end(self, reason: str) -> None:
        """End the whole connection."""

    @property
    def wire_sent(self) -> int:
        """IP bytes sent so far."""
        return self._wire.traffic.sent.total

    @property
    def wire_received(self) -> int:
        """IP bytes received so far."""
        return self._wire.traffic.received.total

    @property
    def by_cause(self) -> BytesByCause:
        """The IP bytes of both ways, by what they are for."""
        return {"sent": self._wire.traffic.sent.by_cause, "received": self._wire.traffic.received.by_cause}

    @property
    def pieces_expected(self) -> int:
        """SCTP chunks with messages, and media packets, that were sent here, up to the newest that came."""
        media = self._wire.media
        return self._wire.arrivals.expected + (media.arrivals.expected if media is not None else 0)

    @property
    def pieces_received(self) -> int:
        """How many of them have come."""
        media = self._wire.media
        return self._wire.arrivals.received + (media.arrivals.received if media is not None else 0)

    @property
    def acknowledgements(self) -> int:
        """SACKs that have come."""
        return self._wire.limiter.acknowledgements

    @property
    def path(self) -> NetworkPath:
        """How the sides are connected: "direct", over a "relay" of either, or "" where that is not known."""
        return relay.path_of(self._peer)

    @property
    def is_open(self) -> bool:
        """Whether both channels are open."""
        return self._kp.readyState == self._ctl.readyState == "open"

    @property
    def carries_media(self) -> bool:
        """Whether this end can send keypoints and reports as media."""
        return self._wire.media is not None

    @property
    def overhead(self) -> int:
        """IP bytes around a keypoint message."""
        return MEDIA_OVERHEAD if self._uses_media else MESSAGE_OVERHEAD

    def use_media(self) -> None:
        """Send keypoints and reports as media from now on; see `shared.transport.media`."""
        self._uses_media = self.carries_media

    def send_kp(self, data: bytes) -> bool:
        """Send one keypoint message; False where it was dropped: not open, or earlier ones cannot leave."""
        if self._uses_media and len(data) > IN_HEADER:
            return self._send_media("kp", data)
        return self._takes(self._kp) and not self._is_backed_up() and self._put(self._kp, data)

    def send_report(self, data: bytes) -> bool:
        """Send a report as media; False where these are not in use, or the connection is not open."""
        return self._uses_media and self._send_media("ctl", data)

    def _send_media(self, channel: Channel, data: bytes) -> bool:
        path, media = self._wire.path, self._wire.media
        if path is None or media is None or not self._takes(self._kp):
            return False
        path.send(pack(channel, media.sent, data))
        media.sent += 1
        self.app_sent += len(data)
        return True

    def send_voice(self, data: bytes) -> bool:
        """Send one sound packet; False where it was dropped: not open, or not made to carry sound."""
        path = self._wire.path
        if path is None or not self._wire.carries_voice or not self._takes(self._kp):
            return False
        path.send(data)
        self.app_sent += len(data)
        return True

    def send_ctl(self, data: bytes) -> None:
        """Queue one control message; ignored once ended. Raise KeycastError before the connection opened."""
        if self._takes(self._ctl):
            self._put(self._ctl, data)
        elif not self.ended:
            raise KeycastError("The connection is not open yet.")

    async def recv(self) -> tuple[Channel, bytes] | None:
        """Return the next message and its channel; None once the connection has ended."""
        return await self._inbox.get()

    async def drained(self, timeout: float = DRAIN_SECONDS) -> bool:
        """Wait until the other side has confirmed all; False when that takes over `timeout` seconds."""
        deadline = asyncio.get_running_loop().time() + timeout
        while not self.ended and (
            self._ctl.bufferedAmount or aiortc_patches.unacknowledged(self._peer, self._streams)
        ):
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(_POLL_SECONDS)
        return not self.ended

    def attach(self, wire: Wire) -> None:
        """Take what all lanes share: it can only be made once there are channels."""
        self._wire = wire

    def on_open(self, opened: Callable[[], None]) -> None:
        """Have `opened` called when a channel has opened."""
        for channel in (self._kp, self._ctl):
            channel.on("open", opened)

    def hear_no_more(self) -> None:
        """Let the reader have what has come, and None after it."""
        self._inbox.close()

    def heard_voice(self, data: bytes) -> None:
        """Hand a sound packet on; what is too much is dropped here, and counted by who reads."""
        if not self.ended:
            self.app_received += len(data)
            self._inbox.put("voice", data)

    def heard_media(self, channel: Channel, data: bytes) -> None:
        """Hand a message on that came as media; what is too much is dropped here, as if lost."""
        if not self.ended:
            self.app_received += len(data)
            self._inbox.put(channel, data)

    def _listen_to(self, channel: RTCDataChannel) -> None:
        name: Channel = "kp" if channel is self._kp else "ctl"
        channel.on("close", lambda: self._end(""))
        channel.on("message", lambda data: self._on_message(name, data))

    def _on_message(self, name: Channel, data: bytes | str) -> None:
        if self.ended:
            return
        if isinstance(data, str) or len(data) > _LIMITS[name]:
            self._end(f"The other side sent a message on {name} that is text or over {_LIMITS[name]} bytes.")
            return
        self.app_received += len(data)
        if not self._inbox.put(name, data) and name == "ctl":
            self._end("The other side sends control messages faster than they can be read.")

    def _takes(self, channel: RTCDataChannel) -> bool:
        """Say whether the channel is open. One that was, and is no more, ends the connection."""
        if channel.readyState in _OVER:
            self._end("The other side has closed a channel.")
        return not self.ended and channel.readyState == "open"

    def _put(self, channel: RTCDataChannel, data: bytes) -> bool:
        """Queue a message on an open channel; False where that ended the connection."""
        if aiortc_patches.unacknowledged(self._peer) >= MAX_UNCONFIRMED:
            self._end("The other side does not acknowledge what it is sent.")
            return False
        try:
            channel.send(data)
        # A side may say that it takes messages of a few bytes, and what else aiortc minds is its own affair.
        except Exception:
            self._end("The other side does not accept what it is sent.")
            return False
        self.app_sent += len(data)
        return True

    def _is_backed_up(self) -> bool:
        """Messages sent in one go may wait for each other; a wait that lasts means the path is full."""
        if not self._kp.bufferedAmount:
            self._backlog_since = None
            return False
        now = asyncio.get_running_loop().time()
        if self._backlog_since is None:
            self._backlog_since = now
        return now - self._backlog_since > _BACKLOG_SECONDS
