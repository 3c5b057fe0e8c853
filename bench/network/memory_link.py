"""Two connected ends in memory, as lossy as asked, the same on every run. For tests of a whole call."""

from __future__ import annotations

import heapq
import random
import secrets
from dataclasses import dataclass
from typing import NamedTuple

from shared.constants import MAX_CTL_MESSAGE, MAX_PACKET, MESSAGE_OVERHEAD
from shared.errors import KeycastError
from shared.interfaces import CAUSES, DRAIN_SECONDS, BytesByCause, Channel, Direction, NetworkPath
from shared.media.voice_packet import HEADER_BYTES, MAX_VOICE_PACKET, PACKET_OVERHEAD
from shared.protocol.arrivals import SequenceTracker
from shared.transport.inbox import Inbox
from shared.transport.media import MEDIA_OVERHEAD

_OVERHEADS: dict[Channel, int] = {
    "kp": MESSAGE_OVERHEAD, "ctl": MESSAGE_OVERHEAD, "voice": PACKET_OVERHEAD - HEADER_BYTES,
}  # fmt: skip
_CAUSES: dict[Channel, str] = {"kp": "keypoints", "ctl": "control", "voice": "sound"}


@dataclass(frozen=True)
class Impairment:
    """Impairment of `kp` and `voice` messages on their way; `ctl` messages arrive at once and in order.

    `loss`, `duplicate`, `reorder` are probabilities in [0, 1]. `delay` and `jitter` are counted in messages:
    one arrives when `delay` later ones have been sent, and a reordered one up to `jitter` (>= 1) later still.
    """

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay: int = 0
    jitter: int = 3
    seed: int = 0


class _Piece(NamedTuple):
    """The number of a message among those that are acknowledged, or among those that travel as media."""

    number: int
    media: bool = False


class LoopbackConnection:
    """One end; a `shared.interfaces.Connection`. Made by `pair`."""

    def __init__(self, impairment: Impairment, seed: int, media: bool = False) -> None:
        self.carries_media, self._uses_media = media, False
        self._impairment = impairment
        self._random = random.Random(seed)
        self._inbox = Inbox()
        self._on_way: list[tuple[int, int, Channel, _Piece | None, bytes]] = []
        self._pieces = self._media = 0
        self._arrivals, self._media_arrivals = SequenceTracker(), SequenceTracker()
        self._step = 0
        self._order = 0
        self._ended = False
        self._reason = ""
        self._other: LoopbackConnection | None = None
        self.binding = b""
        """Given by `pair`."""
        self.ice_problem: None = None
        """No server is asked for anything; see `Link`."""
        self.acknowledgements = 0
        """Messages of this end that have arrived: each is acknowledged at once."""
        self.app_sent = 0
        self.app_received = 0
        self.wire_sent = 0
        self.wire_received = 0
        self.by_cause: BytesByCause = {"sent": dict.fromkeys(CAUSES, 0), "received": dict.fromkeys(CAUSES, 0)}

    @property
    def overhead(self) -> int:
        """Bytes around a keypoint message."""
        return MEDIA_OVERHEAD if self._uses_media else MESSAGE_OVERHEAD

    def use_media(self) -> None:
        """Send keypoints and reports as media from now on: they may be lost, and are not acknowledged."""
        self._uses_media = self.carries_media

    def send_report(self, data: bytes) -> bool:
        """Send a report through the impairments; False where media are not in use."""
        if self._ended or not self._uses_media:
            return False
        self._count_sent("ctl", data, MAX_CTL_MESSAGE)
        self._media += 1
        self._send("ctl", _Piece(self._media, media=True), data)
        return True

    @property
    def back(self) -> None:
        """There is one direction."""
        return None

    @property
    def pieces_expected(self) -> int:
        """Messages that the other side has sent, up to the newest that came."""
        return self._arrivals.expected + self._media_arrivals.expected

    @property
    def pieces_received(self) -> int:
        """How many of them have come."""
        return self._arrivals.received + self._media_arrivals.received

    @property
    def reason(self) -> str:
        """Why the connection ended; "" in order."""
        return self._reason

    @property
    def path(self) -> NetworkPath:
        """Not known: nothing but memory lies between."""
        return ""

    @property
    def ended(self) -> bool:
        """Whether the connection has ended, from either side."""
        return self._ended

    async def opened(self, timeout: float = 8.0) -> None:  # noqa: ARG002 - the interface's
        """Return at once. Raise KeycastError where the connection has ended."""
        if self._ended:
            raise KeycastError("The connection was closed before it opened.")

    def send_kp(self, data: bytes) -> bool:
        """Send one keypoint message through the impairments."""
        if self._ended:
            return False
        self._count_sent("kp", data, MAX_PACKET)
        if self._uses_media:
            self._media += 1
        else:
            self._pieces += 1
        piece = _Piece(self._media if self._uses_media else self._pieces, self._uses_media)
        self._send("kp", piece, data)
        return True

    def send_voice(self, data: bytes) -> bool:
        """Send one sound packet through the impairments."""
        if self._ended:
            return False
        self._count_sent("voice", data, MAX_VOICE_PACKET)
        self._send("voice", None, data)
        return True

    def _send(self, channel: Channel, piece: _Piece | None, data: bytes) -> None:
        self._step += 1
        chance, how = self._random, self._impairment
        copies = 0 if chance.random() < how.loss else 2 if chance.random() < how.duplicate else 1
        for _ in range(copies):
            late = chance.randint(1, how.jitter) if chance.random() < how.reorder else 0
            due = self._step + how.delay + late
            heapq.heappush(self._on_way, (due, self._order, channel, piece, data))
            self._order += 1
        self._deliver()

    def send_ctl(self, data: bytes) -> None:
        """Send one control message; ignored once the connection has ended."""
        if self._ended:
            return
        self._count_sent("ctl", data, MAX_CTL_MESSAGE)
        self._pieces += 1
        self._peer._arrive("ctl", _Piece(self._pieces), data)

    async def recv(self) -> tuple[Channel, bytes] | None:
        """Return the next message and its channel; None once the connection has ended."""
        return await self._inbox.get()

    async def drained(self, timeout: float = DRAIN_SECONDS) -> bool:  # noqa: ARG002 - the interface's
        """Return at once: control messages leave as they are sent."""
        return not self._ended

    async def close(self) -> None:
        """End the connection on both sides; messages still on their way are lost."""
        self._end("")

    def cut(self, reason: str = "The connection was lost.") -> None:
        """End the connection on both sides as a broken network does."""
        self._end(reason)

    @property
    def _peer(self) -> LoopbackConnection:
        if self._other is None:
            raise ValueError("a loopback connection is made by pair()")
        return self._other

    def _count_sent(self, channel: Channel, data: bytes, limit: int) -> None:
        if len(data) > limit:
            raise ValueError(f"a message of {len(data)} bytes is over {limit}")
        self.app_sent += len(data)
        self.wire_sent += len(data) + self._around(channel)
        self._count("sent", channel, data)

    def _around(self, channel: Channel) -> int:
        return self.overhead if channel == "kp" else _OVERHEADS[channel]

    def _count(self, way: Direction, channel: Channel, data: bytes) -> None:
        self.by_cause[way][_CAUSES[channel]] += len(data)
        # Nothing is really around it.
        self.by_cause[way]["ip"] += (self if way == "sent" else self._peer)._around(channel)

    def _deliver(self) -> None:
        while self._on_way and self._on_way[0][0] <= self._step:
            _, _, channel, piece, data = heapq.heappop(self._on_way)
            self._peer._arrive(channel, piece, data)

    def _arrive(self, channel: Channel, piece: _Piece | None, data: bytes) -> None:
        if piece is not None and piece.media:
            self._media_arrivals.came(piece.number)
        elif piece is not None:
            self._arrivals.came(piece.number)
            self._peer.acknowledgements += 1
        self.app_received += len(data)
        self.wire_received += len(data) + self._peer._around(channel)
        self._count("received", channel, data)
        if not self._inbox.put(channel, data) and channel == "ctl":
            self._end("The other side sends control messages faster than they can be read.")

    def _end(self, reason: str) -> None:
        for side in (self, self._peer):
            if not side._ended:
                side._ended = True
                side._reason = reason
                side._inbox.close()


def pair(
    impairment: Impairment | None = None, *, media: bool = False
) -> tuple[LoopbackConnection, LoopbackConnection]:
    """Return two connected ends, both under `impairment` (none by default), each with its own randomness.

    With `media` keypoints and reports may travel as media.
    """
    impairment = impairment or Impairment()
    left = LoopbackConnection(impairment, 2 * impairment.seed, media)
    right = LoopbackConnection(impairment, 2 * impairment.seed + 1, media)
    left._other, right._other = right, left
    left.binding = right.binding = secrets.token_bytes(32)
    return left, right
