"""Bounds on what a peer or a stranger sends again and again; over real sockets."""

import asyncio
import contextlib
import gc
import socket
import struct
from typing import Any

import numpy as np
import pytest
from aioice import stun
from OpenSSL import SSL

from shared.media.opus import SAMPLES, OpusEncoder
from shared.media.voice_packet import VoicePacket
from shared.transport import aiortc_patches, sctp_limits
from shared.transport.datachannel import Link
from tests.integration.hostile import Through, received, udp_addresses

pytestmark = pytest.mark.slow

ROUNDS = 3000


class Counting:
    """Stands before libsrtp, and counts the packets that come to it."""

    def __init__(self, session: Any) -> None:
        self._session, self.sound, self.reports = session, 0, 0

    def unprotect(self, data: bytes) -> bytes:
        self.sound += 1
        return bytes(self._session.unprotect(data))

    def unprotect_rtcp(self, data: bytes) -> bytes:
        self.reports += 1
        return bytes(self._session.unprotect_rtcp(data))


async def test_sound_comes_from_one_source_and_nobody_reports_on_it(call_through: Through) -> None:
    """libsrtp remembers each further source for ever."""
    async with call_through(voice=True) as call:
        dtls = call.receiver._peer.sctp.transport
        dtls._rx_srtp = counting = Counting(dtls._rx_srtp)
        sending = call.sender._peer.sctp.transport
        for source in range(1, ROUNDS):
            await sending._send_rtp(struct.pack("!BBHII", 0x80, 111, 1, 1, source) + b"sound")
            await sending._send_rtp(struct.pack("!BBHI", 0x80, 200, 6, source) + bytes(20))
            if source % 50 == 0:
                await asyncio.sleep(0)
        sound = VoicePacket(1, 0, OpusEncoder(18).encode(np.zeros(SAMPLES, np.int16))).pack()
        sent = 0
        while counting.sound == 0:
            assert call.sender.send_voice(sound)
            sent += 1
            await asyncio.sleep(0.05)
        assert await received(call.receiver) == ("voice", sound)
        assert 1 <= counting.sound <= sent
        assert counting.reports == 0


async def test_what_only_begins_like_stun_does_not_wait_for_ice() -> None:
    link = Link()
    await link.offer()
    waiting = link._peer.sctp.transport.transport._connection._queue  # type: ignore[union-attr]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for n in range(ROUNDS):
            for address in udp_addresses(link):
                stranger.sendto(bytes([n % 4]) + bytes(40), address)
            if n % 50 == 0:
                await asyncio.sleep(0.005)
    async with asyncio.timeout(60):
        while waiting.qsize():
            await asyncio.sleep(0.01)
    await link.close()


async def test_a_datagram_that_is_larger_than_a_packet_is_not_looked_at(call_through: Through) -> None:
    """A STUN message of 64 KiB with eight thousand checksums, or as much of a DTLS record in each place."""
    async with call_through() as call:
        before = call.receiver.wire_received
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for address in udp_addresses(call.receiver):
                for first in (b"\0", b"\x17"):
                    stranger.sendto(first + bytes(aiortc_patches.MAX_DATAGRAM), address)
        await asyncio.sleep(0.1)
        assert call.receiver.wire_received - before < aiortc_patches.MAX_DATAGRAM


async def test_a_peer_is_tried_at_so_many_addresses_and_no_more(call_through: Through) -> None:
    """It knows the password, and asks from ever more ports."""
    async with call_through() as call:
        ice = call.receiver._peer.sctp.transport.transport._connection
        for _ in range(aiortc_patches.MAX_ADDRESSES + 100):
            request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
            request.attributes["USERNAME"] = f"{ice.local_username}:{ice.remote_username}"
            request.attributes["PRIORITY"] = 1
            request.add_message_integrity(ice.local_password.encode())
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as from_here:
                from_here.sendto(bytes(request), udp_addresses(call.receiver)[0])
            await asyncio.sleep(0)
        async with asyncio.timeout(60):
            while len(ice._remote_candidates) <= 10:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        assert len(ice._remote_candidates) <= aiortc_patches.MAX_ADDRESSES
        assert len(ice._check_list) <= aiortc_patches.MAX_ADDRESSES * len(ice._protocols)
        call.sender.send_ctl(b"still here")
        assert await received(call.receiver) == ("ctl", b"still here")


@pytest.mark.parametrize("compact", [True, False])
async def test_keys_are_agreed_on_once(
    call_through: Through, monkeypatch: pytest.MonkeyPatch, compact: bool
) -> None:
    """Each time costs the other side a signature, and it would not look at the certificate again."""
    agree, sides = sctp_limits._agree_on_keys_once, iter(("hostile", "guarded"))
    monkeypatch.setattr(
        sctp_limits, "_agree_on_keys_once", lambda one: next(sides) == "guarded" and agree(one)
    )
    async with call_through(compact_receiver=compact) as call:
        theirs, ours = (side._peer.sctp.transport._ssl for side in (call.receiver, call.sender))
        for _ in range(20):
            ours.renegotiate()
            with contextlib.suppress(SSL.Error):
                ours.do_handshake()
            await call.sender._peer.sctp.transport._write_ssl()
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert theirs.total_renegotiations() == 0


async def test_encryption_that_is_broken_off_ends_the_link_and_frees_its_ports(call_through: Through) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with call_through() as call:
        dtls = call.receiver._peer.sctp.transport
        ice = dtls.transport._connection
        assert ice._protocols
        # As a fatal alert leaves it: what is written now raises.
        dtls._ssl.shutdown()
        call.receiver.send_ctl(b"hello?")
        assert await received(call.receiver) is None
        assert call.receiver.reason == "The other side has closed the encrypted connection."
        await call.receiver.close()
        assert not ice._protocols
    gc.collect()
    assert complaints == []
