"""Sound next to the data channels: RTP packets under the keys that the connection has anyway.

DTLS agrees on keys for SRTP in every connection, whether media is offered or not. So a session description
with sound is the same as one without, and aiortc's own handling of media, decoders and all, is never reached:
a packet is encrypted, counted, and at the other end handed over as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiortc import RTCPeerConnection

from shared.protocol.limits import RateLimit
from shared.transport import aiortc_patches
from shared.transport.sctp_limits import AT_ONCE, PER_SECOND

# 10 bytes of authentication a packet; AES-GCM, which aiortc asks for first, adds 16.
_SHORT_PROFILE = b"SRTP_AES128_CM_SHA1_80"
_NAMES = ("_send_rtp", "_handle_rtp_data", "_handle_rtcp_data", "_srtp_profiles")


class VoicePath:
    """Sends sound packets over `peer`, and hands those that arrive to `arrived`.

    To be made before the connection opens. `refuse` is called, with one sentence, when they come too fast.
    Raise KeycastError where the installed aiortc does not have the names this rests on.
    """

    def __init__(
        self, peer: RTCPeerConnection, arrived: Callable[[bytes], None], refuse: Callable[[str], None]
    ) -> None:
        dtls: Any = peer.sctp.transport if peer.sctp is not None else None
        aiortc_patches.require("aiortc", dtls, _NAMES)
        self._dtls = dtls
        self._arrived, self._refuse = arrived, refuse
        self._limit = RateLimit(PER_SECOND, AT_ONCE)
        self._sending: set[asyncio.Task[None]] = set()
        dtls._handle_rtp_data, dtls._handle_rtcp_data = self._take, self._ignore
        aiortc_patches.expect_media(peer)

    def prefer_short(self) -> None:
        """Choose the shortest protection; for the side that offers, since it is the one which chooses."""
        profiles = self._dtls._srtp_profiles
        short = [one for one in profiles if one.openssl_profile == _SHORT_PROFILE]
        self._dtls._srtp_profiles = short + [one for one in profiles if one not in short]

    def send(self, data: bytes) -> None:
        """Send an RTP packet, in the order of the calls."""
        task = asyncio.get_running_loop().create_task(self._send(data))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, data: bytes) -> None:
        try:
            await self._dtls._send_rtp(data)
        except ConnectionError:
            # The connection has just been closed; the packet is lost, as others are.
            return

    async def _take(self, data: bytes, arrival_time_ms: int) -> None:  # noqa: ARG002 - aiortc's
        if self._allows():
            self._arrived(data)

    async def _ignore(self, _: bytes) -> None:
        """RTCP has nothing to say here."""
        self._allows()

    def _allows(self) -> bool:
        allowed = self._limit.allows(asyncio.get_running_loop().time())
        if not allowed:
            self._refuse("The other side floods the connection with packets.")
        return allowed
