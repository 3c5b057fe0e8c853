"""One call's WebRTC connection: an unordered `kp` channel that never repeats and a reliable `ctl` one."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Iterator

from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    RTCSessionDescription,
)

from shared.constants import MAX_CTL_MESSAGE, MAX_PACKET
from shared.errors import KeycastError, PeerError, RequestError
from shared.interfaces import DRAIN_SECONDS, Channel, Path, Ways
from shared.protocol.arrivals import SequenceTracker
from shared.runtime.logs import logger
from shared.transport import aiortc_patches, relay
from shared.transport.compact_sctp import shrink
from shared.transport.consent import ask_seldom
from shared.transport.inbox import Inbox
from shared.transport.sctp_limits import guard
from shared.transport.sdp import MAX_CANDIDATES, candidates, checked
from shared.transport.servers import DIRECT, IceOptions
from shared.transport.voice import VoicePath

_log = logger("transport")
_count = itertools.count(1)
OPEN_SECONDS = 8.0
_KP_ID, _CTL_ID = 0, 2
_LIMITS: dict[Channel, int] = {"kp": MAX_PACKET, "ctl": MAX_CTL_MESSAGE}
_BACKLOG_SECONDS = 0.05
_POLL_SECONDS = 0.005
_CLOSE_SECONDS = 3.0
_OVER = ("closing", "closed")
MAX_UNCONFIRMED = 1024
"""Messages, and pieces of them: four times what a picture takes, or half a minute of keypoints."""


@contextlib.contextmanager
def _refusing_malformed() -> Iterator[None]:
    try:
        yield
    except KeycastError:
        raise
    # aiortc's SDP reader raises nearly anything on bad input: AssertionError, IndexError, KeyError, ...
    except Exception as error:
        raise PeerError("The session description is malformed.") from error


class Link:
    """An RTCPeerConnection with its two channels; a `shared.interfaces.Connection`.

    The offering side calls `offer` and `accept`, the other side `answer`; then both await `opened`. Both
    channels are negotiated beforehand, so a peer has no say in how they work and may open no others. Not
    `compact`, aiortc's own ways to acknowledge, to encrypt and to ask for consent are kept (see
    `compact_sctp.py` and `consent.py`). With `voice` it carries sound as well, next to the channels (see
    `voice.py`).
    """

    def __init__(self, ice: IceOptions = DIRECT, *, compact: bool = True, voice: bool = False) -> None:
        aiortc_patches.install()
        self._name = f"connection {next(_count)}"
        self._ice = ice
        self._peer = RTCPeerConnection(_configuration(ice))
        self._kp = self._peer.createDataChannel(
            "kp", ordered=False, maxRetransmits=0, negotiated=True, id=_KP_ID
        )
        self._ctl = self._peer.createDataChannel("ctl", negotiated=True, id=_CTL_ID)
        self._traffic = aiortc_patches.traffic_of(self._peer, _KP_ID)
        self._arrivals = SequenceTracker()
        self._guard = guard(self._peer, _KP_ID, self._end, self._arrivals, self._traffic)
        if compact:
            shrink(self._peer)
            ask_seldom(self._peer)
        self._inbox = Inbox()
        self._voice = VoicePath(self._peer, self._on_voice, self._end) if voice else None
        self._open = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        self._backlog_since: float | None = None
        self._reason = ""
        self._path: Path = ""
        self._offers = False
        self.ice_problem: KeycastError | None = None
        """Why a STUN or TURN server is of no use, once gathered; a RequestError where it never will be."""
        self.app_sent = 0
        self.app_received = 0
        self._listen()

    @property
    def wire_sent(self) -> int:
        """IP bytes sent so far."""
        return self._traffic.sent.total

    @property
    def wire_received(self) -> int:
        """IP bytes received so far."""
        return self._traffic.received.total

    @property
    def by_cause(self) -> Ways:
        """The IP bytes of both ways, by what they are for."""
        return {"sent": self._traffic.sent.by_cause, "received": self._traffic.received.by_cause}

    @property
    def pieces_expected(self) -> int:
        """SCTP chunks with messages that the other side has sent, up to the newest that came."""
        return self._arrivals.expected

    @property
    def pieces_received(self) -> int:
        """How many of them have come."""
        return self._arrivals.received

    @property
    def acknowledgements(self) -> int:
        """SACKs that have come."""
        return self._guard.acknowledgements

    @property
    def binding(self) -> bytes:
        """The fingerprints of both ends' certificates, the offering side's first; see `Connection`."""
        mine, other = aiortc_patches.fingerprints(self._peer)
        return mine + other if self._offers else other + mine

    @property
    def path(self) -> Path:
        """How the sides are connected: "direct", over a "relay" of either, or "" before they are."""
        self._path = relay.path_of(self._peer) or self._path
        return self._path

    @property
    def reason(self) -> str:
        """Why the connection ended; "" while it has not, or where either side closed it."""
        return self._reason

    @property
    def ended(self) -> bool:
        """Whether the connection has ended, from either side."""
        return self._closing is not None

    async def offer(self) -> str:
        """Gather candidates and return the offer's SDP, within some five seconds.

        Raise RequestError where the TURN servers refuse the user or the password, KeycastError where only a
        relay would do and there is none.
        """
        self._offers = True
        if self._voice is not None:
            self._voice.prefer_short()
        sdp = await self._described(await self._peer.createOffer())
        if isinstance(self.ice_problem, RequestError):
            raise self.ice_problem
        return sdp

    async def accept(self, sdp: str) -> None:
        """Take the other side's answer. Raise PeerError where it is malformed."""
        with _refusing_malformed():
            sdp = checked(sdp)
            self._tell_candidates("the other side's", sdp)
            await self._peer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))

    async def answer(self, sdp: str) -> str:
        """Take the other side's offer and return the answer's SDP. Raise PeerError where it is malformed.

        As slow as `offer`. Raise KeycastError where only a relay would do and there is none.
        """
        with _refusing_malformed():
            sdp = checked(sdp)
            self._tell_candidates("the other side's", sdp)
            await self._peer.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
            return await self._described(await self._peer.createAnswer())

    async def opened(self, timeout: float = OPEN_SECONDS) -> None:
        """Return once both channels are open. Raise KeycastError when that takes over `timeout` seconds."""
        try:
            await asyncio.wait_for(self._open.wait(), timeout)
        except TimeoutError:
            self._end(f"The connection did not open within {timeout:.0f} seconds.")
        if self.ended:
            raise KeycastError(self._reason or "The connection was closed before it opened.")

    def send_kp(self, data: bytes) -> bool:
        """Send one keypoint message; False where it was dropped: not open, or earlier ones cannot leave."""
        return self._takes(self._kp) and not self._is_backed_up() and self._put(self._kp, data)

    def send_voice(self, data: bytes) -> bool:
        """Send one sound packet; False where it was dropped: not open, or not made to carry sound."""
        if self._voice is None or not self._takes(self._kp):
            return False
        self._voice.send(data)
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
        while not self.ended and (self._ctl.bufferedAmount or aiortc_patches.unacknowledged(self._peer)):
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(_POLL_SECONDS)
        return not self.ended

    async def close(self) -> None:
        """End the connection and release its sockets. Safe to call again.

        A TURN server is notified; one that does not answer is waited for for three seconds, and no longer.
        """
        self._end("")
        if self._closing is not None:
            await asyncio.wait({self._closing}, timeout=_CLOSE_SECONDS)

    async def _described(self, description: RTCSessionDescription) -> str:
        with relay.gathering(self._ice) as failures:
            await self._peer.setLocalDescription(description)
        sdp: str = self._peer.localDescription.sdp
        self._tell_candidates("our", sdp)
        self.ice_problem = relay.problem(self._ice, sdp, failures)
        if self.ice_problem is not None and self._ice.relay_only:
            raise self.ice_problem
        return sdp

    def _tell(self, layer: str, state: str) -> None:
        _log.debug("%s: %s %s", self._name, layer, state)

    def _tell_candidates(self, whose: str, sdp: str) -> None:
        if _log.isEnabledFor(logging.DEBUG):
            for candidate in candidates(sdp)[:MAX_CANDIDATES]:
                _log.debug("%s: %s candidate %s", self._name, whose, candidate)

    def _listen(self) -> None:
        self._peer.on("connectionstatechange", self._on_state)
        self._peer.on("iceconnectionstatechange", lambda: self._tell("ICE", self._peer.iceConnectionState))
        if self._peer.sctp is not None:
            dtls = self._peer.sctp.transport
            dtls.on("statechange", lambda: self._tell("DTLS", dtls.state))
        self._peer.on("datachannel", self._on_channel)
        for name, channel in (("kp", self._kp), ("ctl", self._ctl)):
            self._listen_to("kp" if name == "kp" else "ctl", channel)

    def _listen_to(self, name: Channel, channel: RTCDataChannel) -> None:
        channel.on("open", self._on_open)
        channel.on("close", lambda: self._end(""))
        channel.on("message", lambda data: self._on_message(name, data))

    def _on_open(self) -> None:
        if self._kp.readyState == self._ctl.readyState == "open":
            _log.debug("%s: open, %s", self._name, relay.pair_of(self._peer))
            self._open.set()

    def _on_state(self) -> None:
        state = self._peer.connectionState
        if state == "failed":
            self._end("No way through the network to the other side was found.")
        elif state == "closed":
            self._end("")

    def _on_channel(self, channel: RTCDataChannel) -> None:
        self._end(f"The other side opened an unexpected channel {channel.label[:20]!r}.")

    def _on_message(self, name: Channel, data: bytes | str) -> None:
        if self.ended:
            return
        if isinstance(data, str) or len(data) > _LIMITS[name]:
            self._end(f"The other side sent a message on {name} that is text or over {_LIMITS[name]} bytes.")
            return
        self.app_received += len(data)
        if not self._inbox.put(name, data) and name == "ctl":
            self._end("The other side sends control messages faster than they can be read.")

    def _on_voice(self, data: bytes) -> None:
        """Hand a sound packet on; what is too much is dropped here, and counted by who reads."""
        if not self.ended:
            self.app_received += len(data)
            self._inbox.put("voice", data)

    def _takes(self, channel: RTCDataChannel) -> bool:
        """Say whether the channel is open. One that was, and is no more, ends the connection."""
        if channel.readyState in _OVER:
            self._end("The other side has closed a channel.")
        return not self.ended and channel.readyState == "open"

    def _put(self, channel: RTCDataChannel, data: bytes) -> bool:
        """Queue a message on an open channel; False where that ended the connection."""
        if aiortc_patches.unacknowledged(self._peer) >= MAX_UNCONFIRMED:
            self._end("The other side does not confirm what it is sent.")
            return False
        try:
            channel.send(data)
        # A side may say that it takes messages of a few bytes, and what else aiortc minds is its own affair.
        except Exception:
            self._end("The other side does not take what it is sent.")
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

    def _end(self, reason: str) -> None:
        if self._closing is not None:
            return
        self._path = self.path
        self._reason = reason
        _log.debug("%s: closing%s", self._name, f": {reason}" if reason else "")
        self._closing = asyncio.get_running_loop().create_task(self._peer.close())
        self._inbox.close()
        self._open.set()


def _configuration(ice: IceOptions) -> RTCConfiguration:
    # Without a list, aiortc would ask a public server. Of TURN servers it takes one; the others: `relay`.
    servers = [server for server in (ice.stun, *ice.turn[:1]) if server is not None]
    return RTCConfiguration(
        [RTCIceServer(server.url, server.username, server.credential) for server in servers],
        RTCIceTransportPolicy.RELAY if ice.relay_only else RTCIceTransportPolicy.ALL,
    )


async def try_servers(ice: IceOptions) -> KeycastError | None:
    """Ask the servers of `ice` once, before a call wants them; return what is wrong with one of no use.

    Raise what `Link.offer` does.
    """
    if ice == DIRECT:
        return None
    link = Link(ice)
    try:
        await link.offer()
    finally:
        await link.close()
    return link.ice_problem
