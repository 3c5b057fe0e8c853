"""One call's WebRTC connection: how it is set up and ends, for one direction or for both."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Iterator

from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    RTCSessionDescription,
)

from shared.errors import KeycastError, PeerError, RequestError
from shared.interfaces import NetworkPath
from shared.protocol.arrivals import SequenceTracker
from shared.runtime.logs import logger
from shared.transport import aiortc_patches, relay
from shared.transport.compact_sctp import make_compact
from shared.transport.consent import space_out_consent
from shared.transport.lane import Lane, Media, Wire
from shared.transport.media import channel_of, parse
from shared.transport.sctp_limits import limit_sctp
from shared.transport.sdp import MAX_CANDIDATES, candidates, checked
from shared.transport.servers import DIRECT, IceOptions
from shared.transport.voice import VoicePath

_log = logger("transport")
_count = itertools.count(1)
OPEN_SECONDS = 8.0
_KP_ID, _CTL_ID, _BACK_KP_ID, _BACK_CTL_ID = 0, 2, 4, 6
KEYPOINT_STREAMS = frozenset((_KP_ID, _BACK_KP_ID))
_CLOSE_SECONDS = 3.0


@contextlib.contextmanager
def _refusing_malformed() -> Iterator[None]:
    try:
        yield
    except KeycastError:
        raise
    # aiortc's SDP reader raises nearly anything on bad input: AssertionError, IndexError, KeyError, ...
    except Exception as error:
        raise PeerError("The session description is malformed.") from error


class Link(Lane):
    """An RTCPeerConnection with its two channels; a `shared.interfaces.Connection`.

    The offering side calls `offer` and `accept`, the other side `answer`; then both await `opened`. Both
    channels are negotiated beforehand, so a peer has no say in how they work and may open no others. Not
    `compact`, aiortc's own ways to acknowledge, to encrypt and to ask for consent are kept (see
    `compact_sctp.py` and `consent.py`), and no message travels as media (see `media.py`). With `voice` it
    carries sound as well, next to the channels (see `voice.py`).

    The link is itself the lane of the direction from the offering side to the answering one. Made for
    `two_way`, it has a further pair of channels, which nobody notices before something is sent there: the
    lane of the other direction, that `back` gives.
    """

    def __init__(
        self, ice: IceOptions = DIRECT, *, compact: bool = True, voice: bool = False, two_way: bool = False
    ) -> None:
        aiortc_patches.install()
        self._name = f"connection {next(_count)}"
        self._ice = ice
        self._open = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        self._closed = False
        self._reason = ""
        self._path: NetworkPath = ""
        self._offers = False
        peer = RTCPeerConnection(_configuration(ice))
        super().__init__(peer, _KP_ID, _CTL_ID)
        self._back = _ReturnLane(self, peer, self._end) if two_way else None
        traffic, arrivals = aiortc_patches.traffic_of(peer, KEYPOINT_STREAMS), SequenceTracker()
        limiter = limit_sctp(peer, KEYPOINT_STREAMS, self._end, arrivals, traffic)
        if compact:
            make_compact(peer)
            space_out_consent(peer, lambda: (self.pieces_expected, self.pieces_received))
        media = Media() if compact else None
        path = VoicePath(peer, self._on_rtp, self._end) if voice or compact else None
        wire = Wire(traffic, arrivals, limiter, path, carries_voice=voice, media=media)
        for lane in self._lanes:
            lane.attach(wire)
        self.ice_problem: KeycastError | None = None
        """Why a STUN or TURN server is of no use, once gathered; a RequestError where it never will be."""
        self._listen()

    @property
    def back(self) -> Lane | None:
        """The lane of the other direction, for a link made for `two_way`.

        Who asks for it gets it to use, and closes it: the connection lasts until both lanes are closed.
        """
        if self._back is not None:
            self._back.is_used = True
        return self._back

    @property
    def binding(self) -> bytes:
        """The fingerprints of both ends' certificates, the offering side's first; see `Connection`."""
        mine, other = aiortc_patches.fingerprints(self._peer)
        return mine + other if self._offers else other + mine

    @property
    def path(self) -> NetworkPath:
        """How the sides are connected: "direct", over a "relay" of either, or "" before they are."""
        self._path = super().path or self._path
        return self._path

    @property
    def reason(self) -> str:
        """Why the connection ended; "" while it has not, or where either side closed it."""
        return self._reason

    @property
    def ended(self) -> bool:
        """Whether the connection has ended, from either side, or this lane of it was closed."""
        return self._closed or self.over

    @property
    def over(self) -> bool:
        """Whether the whole connection has ended."""
        return self._closing is not None

    async def offer(self) -> str:
        """Gather candidates and return the offer's SDP, within some five seconds.

        Raise RequestError where the TURN servers refuse the user or the password, KeycastError where only a
        relay would do and there is none.
        """
        self._offers = True
        if self._wire.path is not None:
            self._wire.path.prefer_short()
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
        """Return once all channels are open. Raise KeycastError when that takes over `timeout` seconds."""
        try:
            await asyncio.wait_for(self._open.wait(), timeout)
        except TimeoutError:
            self._end(f"The connection did not open within {timeout:.0f} seconds.")
        if self.over:
            raise KeycastError(self._reason or "The connection was closed before it opened.")

    async def close(self) -> None:
        """Give this lane up and, unless `back` is in use, end the connection and release its sockets.

        Safe to call again. A TURN server is notified; one that does not answer is waited for for three
        seconds, and no longer.
        """
        self._closed = True
        self._inbox.close()
        if self._back is None or not self._back.is_used or self._back.ended:
            await self.shut()

    async def shut(self) -> None:
        """End the connection, whatever lanes are in use."""
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
        for lane in self._lanes:
            lane.on_open(self._on_open)

    @property
    def _lanes(self) -> tuple[Lane, ...]:
        return (self,) if self._back is None else (self, self._back)

    def _on_open(self) -> None:
        if all(lane.is_open for lane in self._lanes):
            _log.debug("%s: open, %s", self._name, relay.pair_of(self._peer))
            self._open.set()

    def _on_state(self) -> None:
        state = self._peer.connectionState
        if state == "failed":
            self._end("No network path to the other side was found.")
        elif state == "closed":
            self._end("")

    def _on_channel(self, channel: RTCDataChannel) -> None:
        self._end(f"The other side opened an unexpected channel {channel.label[:20]!r}.")

    def _on_rtp(self, data: bytes) -> None:
        """Hand a packet to the direction that it belongs to: each side hears the other's."""
        incoming = self if self._back is None or not self._offers else self._back
        if channel_of(data) is None:
            if self._wire.carries_voice:
                incoming.heard_voice(data)
            return
        media = self._wire.media
        if media is None:
            return
        try:
            channel, number, message = parse(data, media.newest)
        except PeerError as error:
            # Under the keys of the connection: it is no stranger who sends that.
            self._end(str(error))
            return
        is_news = media.came(channel, number)
        # Reports are about what this side sends.
        lane = incoming if channel == "kp" else self if self._offers else self._back
        if lane is not None and is_news:
            lane.heard_media(channel, message)

    def _end(self, reason: str) -> None:
        if self._closing is not None:
            return
        self._path = self.path
        self._reason = reason
        _log.debug("%s: closing%s", self._name, f": {reason}" if reason else "")
        self._closing = asyncio.get_running_loop().create_task(self._peer.close())
        for lane in self._lanes:
            lane.hear_no_more()
        self._open.set()


class _ReturnLane(Lane):
    """The direction from the answering side of `link` to the offering one."""

    def __init__(self, link: Link, peer: RTCPeerConnection, end: Callable[[str], None]) -> None:
        super().__init__(peer, _BACK_KP_ID, _BACK_CTL_ID)
        self._link, self._end_link = link, end
        self._closed = False
        self.is_used = False

    @property
    def binding(self) -> bytes:
        """As the link's."""
        return self._link.binding

    @property
    def path(self) -> NetworkPath:
        """As the link's."""
        return self._link.path

    @property
    def reason(self) -> str:
        """As the link's."""
        return self._link.reason

    @property
    def ended(self) -> bool:
        """Whether the connection has ended, or this lane of it was closed."""
        return self._closed or self._link.over

    async def opened(self, timeout: float = OPEN_SECONDS) -> None:
        """As the link's: all channels open at once."""
        await self._link.opened(timeout)

    async def close(self) -> None:
        """Give this lane up; and where the link's own is, end the connection."""
        self._closed = True
        self.hear_no_more()
        if self._link.ended:
            await self._link.shut()

    def _end(self, reason: str) -> None:
        self._end_link(reason)


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
